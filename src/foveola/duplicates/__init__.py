"""Duplicates and near-duplicates in and across data sets, with the evidence for each."""

from foveola.duplicates.find import Found, Kind, Pair, Settings, find_duplicates
from foveola.duplicates.groups import Group, group, summary, to_dict, to_text

__all__ = ["Found", "Group", "Kind", "Pair", "Settings", "find_duplicates", "group", "summary", "to_dict", "to_text"]
