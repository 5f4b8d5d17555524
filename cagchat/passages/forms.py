"""Forms of English words that FTS5's porter tokenizer does not bring together: it cuts endings, nothing else."""

from __future__ import annotations

_FAMILIES = """
    bear bore borne; beat beaten; become became; begin began begun; bite bit bitten; bleed bled; blow blew blown;
    break broke broken; breed bred; bring brought; build built; burn burnt; buy bought; catch caught;
    choose chose chosen choice; come came; creep crept; deal dealt; die died dies dying dead death deaths;
    dig dug; draw drew drawn; dream dreamt; drink drank drunk; drive drove driven; eat ate eaten; fall fell fallen;
    feed fed; feel felt; fight fought; find found; flee fled; fly flew flown; forbid forbade forbidden;
    forget forgot forgotten; forgive forgave forgiven; freeze froze frozen; give gave given; grow grew grown;
    hang hung; hear heard; hide hid hidden; hold held; keep kept; kneel knelt; know knew known; lead led;
    leave left; lend lent; lie lied lies lying; lose lost loss; make made; meet met; pay paid;
    propose proposal proposals; ride rode ridden; ring rang rung; rise rose risen; run ran; see saw seen; seek sought;
    sell sold; send sent; shake shook shaken; shoot shot; show shown; shrink shrank; sing sang sung; sink sank sunk;
    sit sat; sleep slept; speak spoke spoken speech; spend spent; spring sprang sprung; stand stood;
    steal stole stolen; stick stuck; sting stung; strike struck; swear swore sworn; sweep swept; swim swam swum;
    take took taken; teach taught; tear tore torn; think thought; throw threw thrown; understand understood;
    wake woke; wear wore worn; weep wept; win won; write wrote written; live life lives lived; love loved;
    marry marries married marriage; bury buried burial buries; man men; woman women; child children; wife wives;
    foot feet; tooth teeth; thief thieves theft; born birth; brother brethren; ill illness; try tries tried trial
"""
FORMS = {
    word: tuple(other for other in family.split() if other != word)
    for family in _FAMILIES.split(";")
    for word in family.split()
}
