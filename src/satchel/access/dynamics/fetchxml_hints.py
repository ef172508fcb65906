"""What to do about the operators of FetchXML that are not carried over.

Source: Microsoft Learn, "condition operator values" (power-apps/developer/data-platform/fetchxml/reference/operators).
"""

from __future__ import annotations

from collections.abc import Mapping

_HINTS: Mapping[str, str] = {
    "eq-userlanguage": "A user's language is not known here. If the user row has it, compare with @my.<attribute>.",
    "neq": "It is the old name of ne: use ne.",
    "between": "Use two conditions: ge and le.",
    "not-between": "Use two conditions joined by or: lt and gt.",
    "on": "Use two conditions: on-or-after and on-or-before with the same day.",
    "not-on": "Use two conditions joined by or: lt the day and gt the day.",
    "today": "Days by the calendar are not followed. Use last-x-hours or next-x-hours with 24.",
    "yesterday": "Days by the calendar are not followed. Use last-x-hours with 48.",
    "tomorrow": "Days by the calendar are not followed. Use next-x-hours with 48.",
    "last-seven-days": "Use last-x-days with 7.",
    "next-seven-days": "Use next-x-days with 7.",
    "contain-values": "Choices with several values are not searched; use another column.",
    "not-contain-values": "Choices with several values are not searched; use another column.",
}
_HINTS_BY_PART: Mapping[str, str] = {
    "fiscal": "Fiscal periods are not followed. Use on-or-after and on-or-before, or last-x-days.",
    "years": "Use days: last-x-days or olderthan-x-days with 365 for each year.",
    "week": "Periods by the calendar are not followed. Use last-x-weeks or next-x-weeks.",
    "month": "Periods by the calendar are not followed. Use last-x-months or next-x-months.",
    "year": "Periods by the calendar are not followed. Use last-x-days or next-x-days with 365.",
    "under": "Hierarchies of rows are not followed. For rows of users below: eq-useroruserhierarchy.",
    "above": "Hierarchies of rows are not followed.",
}


def hint_for(operator: str) -> str:
    """Advice for one operator, by its name or by a part of it."""
    by_part = (text for part, text in _HINTS_BY_PART.items() if part in operator)
    return _HINTS.get(operator) or next(
        by_part, "Take the condition out of the view, or write the filter of this entity by hand."
    )
