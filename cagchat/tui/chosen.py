"""What was chosen in a list that may be another one by the time the choice arrives."""

from __future__ import annotations

from textual.widgets import OptionList


def still_listed(event: OptionList.OptionSelected) -> bool:
    """Tell whether the list still holds what was chosen, at the same place: keys come faster than lists change."""
    listed, index = event.option_list, event.option_index
    return index < listed.option_count and listed.get_option_at_index(index) is event.option
