"""Describe the board that a design runs on, and read its presets."""

from cosim.machine.board import Clock, Energy, Family, Kind, Logic, Machine, Power, Source
from cosim.machine.memory import Memory
from cosim.machine.preset import list_machines, load_machine, read_machine
from cosim.machine.service import Pace, Port

__all__ = [
    "Clock", "Energy", "Family", "Kind", "Logic", "Machine", "Memory", "Pace", "Port", "Power",
    "Source", "list_machines", "load_machine", "read_machine",
]  # fmt: skip
