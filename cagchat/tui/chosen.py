"""What is chosen in a list that may be another one by the time a key, a click or the choice arrives."""

from __future__ import annotations

from textual import events
from textual.widgets import OptionList


class ChangingList(OptionList):
    """A list that is filled anew while it is used; Textual's takes it for what was drawn last."""

    def on_click(self, event: events.Click) -> None:
        """Choose nothing by a click on a row that is gone."""
        if event.style.meta.get("option", 0) >= self.option_count:
            event.prevent_default()

    def action_page_up(self) -> None:
        """Move up by a page, once the rows have been laid out."""
        if self.scrollable_content_region:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """Move down by a page, once the rows have been laid out."""
        if self.scrollable_content_region:
            super().action_page_down()  # type: ignore[no-untyped-call]


def still_listed(event: OptionList.OptionSelected) -> bool:
    """Tell whether the list still holds what was chosen, at the same place: keys come faster than lists change."""
    listed, index = event.option_list, event.option_index
    return index < listed.option_count and listed.get_option_at_index(index) is event.option
