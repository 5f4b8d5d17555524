"""Lines of the prompt that begin with a slash: the commands of `open --plain`, each by what the chat's keys do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cagchat.errors import UsageError
from cagchat.questions import command_in, filled
from cagchat.tui.ready_made import WORDINGS, Kind

if TYPE_CHECKING:
    from cagchat.tui.chat_screen import ChatScreen

AT_ANY_TIME = ("/new", "/help", "/quit", "/exit", "/q")  # the others wait for the answer that is being made
ALONE: Mapping[str, Kind] = {f"/{kind}": kind for kind in WORDINGS}  # without a word after them they ask for it
ALL = "/summary, /who, /since, /again, /edit N, /new, /until PLACE, /help and /quit are commands."


async def obey(screen: ChatScreen, text: str) -> bool:
    """Do what a text says that begins with a slash; False when it has to wait for the answer that is being made.

    Raises `UsageError` where it says nothing that can be done, and what loading the book's text raises.
    """
    name, rest = command_in(text.strip())
    if screen.busy and name not in AT_ANY_TIME:
        screen.still_answering()
        return False
    match name:
        case "/new":
            await screen.action_new_chat()
        case "/help":
            await screen.app.run_action("help")
        case "/quit" | "/exit" | "/q":
            screen.on_text_area_changed()  # nobody comes to tell it of the emptied prompt any more
            await screen.app.run_action("quit")
        case "/again":
            if not screen.transcript.turns:
                raise UsageError("There is no question to ask again.", "Ask one first.")
            await screen.action_again()
        case "/edit":
            return await edit(screen, rest, text)
        case "/until" if rest:
            await screen.limit_to(rest)
        case "/until":
            await screen.action_limit()
        case _ if name in ALONE and not rest:
            await screen.action_ready_made(ALONE[name])
        case _:
            question = filled(screen.book.document, name, rest)
            if question is None:
                raise UsageError(f"There is no command {text.split()[0]}.", ALL)
            return await screen.ask(question, screen.editing, text)
    return True


async def edit(screen: ChatScreen, rest: str, text: str) -> bool:
    """Ask in place of an earlier question what is said after its number; nothing there lets the reader write it."""
    number, question = command_in(rest) if rest else ("", "")
    turns = screen.transcript.turns
    chosen = next((turn for turn in turns if str(turn.number) == number), None)
    if not number.isdecimal():
        raise UsageError("/edit needs a number and a question.", "/edit 2 And who is his mother?")
    if chosen is None:
        raise UsageError(f"This chat has no question {number}.", f"It has {len(turns)}.")
    if question:
        return await screen.ask(question, chosen.number, text)
    screen.edit_question(chosen)
    return True
