"""Which language a text is in, and which of its words say nothing about what is asked."""

from __future__ import annotations

import re
from collections import Counter

WORD = re.compile(r"[^\W_]+")
SAMPLE_CHARACTERS = 20_000  # taken at three places, so that a preface in another language does not decide
LEAST_SHARE = 0.08  # of the words: running text has a third of them, a list of names next to none

# Words that carry grammar and not matter, and the pronouns that stand for somebody named earlier.
_PRONOUNS = {
    "en": "he him his himself she her hers herself they them their theirs it its this that these those",
    "fr": "il elle ils elles lui leur leurs son sa ses le la les ce cet cette ces celui celle ceux",
    "de": (
        "er ihn ihm sein seine seiner seinem seinen seines sie ihr ihre ihrer ihrem ihren ihres ihnen es "
        "dieser diese dieses diesem diesen"
    ),
    "es": "él ella ellos ellas lo la los las le les su sus suyo suya este esta estos estas ese esa eso",
    "it": "egli lui lei loro esso essa essi esse suo sua suoi sue gli lo la li le questo questa questi queste",
    "pt": (
        "ele ela eles elas dele dela deles delas lhe lhes seu sua seus suas o a os as este esta isto esse essa isso"
    ),
    "nl": "hij hem zijn zij ze haar hun hen het dit dat deze die",
    "sv": "han honom hans hon henne hennes de dem deras den det denna detta dessa",
    "da": "han ham hans hun hende hendes de dem deres den det denne dette disse",
    "nb": "han ham hans hun henne hennes de dem deres den det denne dette disse",
    "pl": "on jego jemu mu nim go ona jej ją nią oni one ich im nimi to ten ta te tego tej",
    "ru": "он его ему им нём него она её ее ей ней нее они их ним них это этот эта эти того той",
}
_GRAMMAR = {
    "en": (
        "a about after again against all also am an and any are as at be because been before being between "
        "both but by can could did do does doing done during each ever for from get gets go goes got had has "
        "have having here how i if in into is just me more most my no nor not now of off on once only or "
        "other our out over own same should so some such than the then there through to too under until up upon "
        "us very was we were what when where which while who whom whose why will with would you your yes s t "
        "d ll ve re m don doesn didn isn wasn weren aren couldn wouldn won"
    ),
    "fr": (
        "à afin ai après as au aucun aussi autre aux avant avec avoir c car chez comme comment d dans de des "
        "donc dont du en entre es est et été être eu fait faire font fut il j je l là lequel laquelle m ma "
        "mais me même mes moi mon n ne ni nos notre nous on ont ou où par pas pendant peut plus pour pourquoi "
        "qu quand que quel quelle quelles quels qui quoi s sans se sera si sont sous suis sur t ta te tes toi "
        "ton tous tout très tu un une vers vos votre vous y"
    ),
    "de": (
        "aber alle als also am an auch auf aus bei bin bis bist da dabei dann das dass dem den der des dich "
        "die dir doch dort du durch ein eine einem einen einer eines etwas für gegen haben habe hat hatte "
        "hatten hier hin ich im in ist ja jede jeder kann kein keine können mehr mein meine mich mir mit nach "
        "nicht noch nun nur ob oder ohne schon sehr sich sind so über um und uns unter vom von vor war waren "
        "warum was welche welcher welches wem wen wenn wer werden wie wieder wir wird wo woher wohin wurde "
        "wurden zu zum zur zwischen"
    ),
    "es": (
        "a al algo ante antes aquí así aún bajo cada como cómo con cual cuál cuáles cuando cuándo cuanto "
        "cuánto de del desde donde dónde dos durante e el en entre era eran eres es está están estaba fue "
        "fueron ha había hace hacia han hasta hay he ir más me mi mis mucho muy ni no nos nosotros nuestro o "
        "otra otro para pero por porque qué que quien quién quiénes se sea ser si sí sido sin sobre son soy "
        "también tan tanto te tiene todo todos tras tu tus un una uno unos unas y ya yo"
    ),
    "it": (
        "a ad agli ai al alla alle allo anche ancora avere aveva c che chi ci come con contro cosa così cui d "
        "da dal dalla dalle dai degli dei del della delle dello di dopo dov dove durante e è ed era erano "
        "essere fa fino fra fu furono ha hai hanno ho i il in io l ma me mi mia mio molto ne negli nei nel "
        "nella nelle nello no noi non nostro o ogni perché per più poi prima qual quale quali quando quanto "
        "quel quella se senza sei si sia siamo sono sotto sta stato su sua sugli sui sul sulla sulle te ti "
        "tra tu tua tuo tutti tutto un una uno v vi voi"
    ),
    "pt": (
        "à ao aos após até cada com como contra da das de depois desde do dos durante e é em entre era eram "
        "eu foi foram há já lá mais mas me mesmo meu meus minha muito na não nas nem no nos nós nossa nosso "
        "num numa onde ou para pela pelas pelo pelos por porque quê qual quais quando quanto que quem se sem "
        "ser seria são sobre só também tem tinha te teu tu tua um uma uns você vocês"
    ),
    "nl": (
        "aan al als altijd ander bij ben bent daar dan de der doen door dus een en er ge geen had hadden heb "
        "hebben heeft hier hoe iets ik in is ja je jij kan kon kunnen maar me meer men met mij mijn moet na "
        "naar niet niets nog nu of om omdat ons onze ook op over te tegen toch toen tot u uit uw van veel "
        "voor waar waarom wanneer want waren was wat we welk welke werd werden wie wij wil worden wordt zal "
        "ze zelf zich zo zonder zou"
    ),
    "sv": (
        "alla allt att av bara bli blir blev då där efter eller en ett för från får fick genom ha hade har "
        "hur i in inte ja jag kan kom kunde man med mellan men mig min mitt mot mycket när ni nu någon något "
        "och om oss på sedan sig sin sina sitt ska skulle som så till under upp ut utan vad var vara varför "
        "varje vart vem vi vid vilka vilken vilket vill är än åt över"
    ),
    "da": (
        "af alle at blev blive bliver da der dig din du efter ej eller en end er et for fra få får før gennem "
        "ha har havde hvad hvem hver hvilke hvilken hvilket hvis hvor hvordan hvorfor hvornår i ikke ind jeg "
        "jer kan kom kunne man med meget mellem men mig min mit mod når nogen noget nu og også om op os over "
        "på sig sin sine sit skal skulle som så til ud uden under var ved vi vil ville være vores"
    ),
    "nb": (
        "alle at av bare ble bli blir da der deg din du eller en er et etter for fra få får før gjennom ha "
        "hadde har hva hvem hver hvilke hvilken hvilket hvis hvor hvordan hvorfor når i ikke inn jeg kan kom "
        "kunne man med meg mellom men min mitt mot mye nå noe noen og også om opp oss over på seg sin sine "
        "sitt skal skulle som så til ut uten under var ved vi vil ville være vår"
    ),
    "pl": (
        "a aby albo ale ani bardzo bez był była było były być bo by ci ciebie co coś czy czyj dla do dlaczego "
        "gdy gdzie i ile jak jaka jaki jakie jako jest jeszcze jeśli już każdy kiedy kogo komu kto która "
        "które którego którzy który ku lub ma mają mam mi mnie mną może my na nad nam nas nie niż o od po pod "
        "podczas przed przez przy się są skąd sobie swoje ta tak także tam też tu ty tylko u w we więc "
        "wszystko z za zawsze ze że"
    ),
    "ru": (
        "а без более бы был была были было быть в вам вас весь во вот все всё всего вы где да даже для до "
        "если есть ещё еще же за зачем и из или из-за к как какая какие какой ко когда кого кому который "
        "которая которые которого кто куда ли между меня мне много мной мог может мы на над надо нас наш не "
        "нет ни но ну о об однако от откуда по под почему при про с сам свой свою своего себе себя со так "
        "также такой там тебя то тогда только тот ты у уже чего чем чему через что чтобы чья чей я"
    ),
}
PRONOUNS = {language: frozenset(words.split()) for language, words in _PRONOUNS.items()}
STOP_WORDS = {language: PRONOUNS[language] | frozenset(words.split()) for language, words in _GRAMMAR.items()}

# What one says to ask about a book, and what every book says on every page.
_ASKING = {
    "en": (
        "book novel story chapter author narrator character scene passage text part page happen happens "
        "happened happening describe describes described explain tell tells summary summarize summarise mean "
        "means say says said please find know many much anything something someone anyone else exactly really"
    ),
    "fr": "livre roman histoire chapitre auteur personnage scène page passe passé décrire explique dis dit",
    "de": ("buch roman geschichte kapitel autor figur szene seite passiert geschieht beschreibe erkläre sagt sage"),
    "es": "libro novela historia capítulo autor personaje escena página pasa ocurre describe explica dice",
    "it": "libro romanzo storia capitolo autore personaggio scena pagina succede accade descrivi spiega dice",
    "pt": "livro romance história capítulo autor personagem cena página acontece descreve explica diz",
    "nl": "boek roman verhaal hoofdstuk schrijver personage scène bladzijde gebeurt beschrijf zegt",
    "sv": "bok boken roman berättelse kapitel författare sida händer beskriv säger",
    "da": "bog bogen roman historie kapitel forfatter side sker beskriv siger",
    "nb": "bok boka boken roman historie kapittel forfatter side skjer beskriv sier",
    "pl": "książka książce powieść historia rozdział autor postać scena strona opisz mówi",
    "ru": "книга книге роман история глава главе автор герой сцена страница происходит случилось опиши говорит",
}
ASKING_WORDS = {language: frozenset(words.split()) for language, words in _ASKING.items()}
DEFAULT = "en"


def language_of(declared: str, text: str) -> str:
    """Return a document's language as two letters: as it declares it ("en", "en-GB"), else guessed; "" if unknown."""
    code = declared.replace("_", "-").partition("-")[0].lower()
    if len(code) == 2:
        return "nb" if code in ("no", "nn") else code
    third = max(1, len(text) // 3)
    size = SAMPLE_CHARACTERS // 3
    return guess(" ".join(text[at : at + size] for at in (third // 2, third, 2 * third)))


def guess(text: str) -> str:
    """Return the language whose words of grammar the text is made of; "" when no language's are frequent enough."""
    counts = Counter(WORD.findall(text.casefold()))
    found = {language: sum(counts[word] for word in words & counts.keys()) for language, words in STOP_WORDS.items()}
    best = max(found, key=lambda language: found[language])
    return best if found[best] > LEAST_SHARE * max(1, counts.total()) else ""
