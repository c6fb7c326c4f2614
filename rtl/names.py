"""Name what Verilog sees: legal, unique, no keyword, the same in every process."""

from __future__ import annotations

import re
from collections.abc import Hashable

from cosim.ir.errors import UserError

# IEEE 1800-2017 table B.1; a SystemVerilog tool refuses them even where Verilog would not.
_WORDS = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
checker class clocking cmos config const constraint context continue cover covergroup coverpoint
cross deassign default defparam design disable dist do edge else end endcase endchecker endclass
endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
endprimitive endprogram endproperty endspecify endsequence endtable endtask enum event
eventually expect export extends extern final first_match for force foreach forever fork
forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins
implements implies import incdir include initial inout input inside instance int integer
interconnect interface intersect join join_any join_none large let liblist library local
localparam logic longint macromodule matches medium modport module nand negedge nettype new
nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter pmos
posedge primitive priority program property protected pull0 pull1 pulldown pullup
pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime
ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always
s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
signed small soft solve specify specparam static string strong strong0 strong1 struct super
supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time
timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union
unique unique0 unsigned until until_with untyped use uwire var vectored virtual void wait
wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""
# Ours are the clock and the reset.
KEYWORDS = frozenset([*_WORDS.split(), "clk", "rst"])
_LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNNAMED = re.compile(r"(tmp|const_)[0-9]+(_.*)?")


def is_unnamed(name: str) -> bool:
    """Tell whether PyRTL made a name up."""
    return bool(_UNNAMED.fullmatch(name))


def legal(name: str) -> str:
    """Return a name as near as Verilog can have it.

    >>> legal("layers.*.B"), legal("reg")
    ('layers___B', '_reg')
    """
    found = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return found if _LEGAL.fullmatch(found) and found not in KEYWORDS else f"_{found}"


class Names:
    """Give each thing of a module a name of its own."""

    def __init__(self, module: str) -> None:
        """Start with a module's name; raise UserError where Verilog cannot have it."""
        if not _LEGAL.fullmatch(module) or module in KEYWORDS:
            raise UserError(
                f"module {module!r}: Verilog needs a name of letters, digits and _ that is no "
                "keyword; choose another"
            )
        self.module = module
        self._used: set[str] = {module}
        self._name: dict[Hashable, str] = {}

    def __getitem__(self, key: Hashable) -> str:
        """Return the name of a thing that was added."""
        return self._name[key]

    def same(self, key: Hashable, other: Hashable) -> None:
        """Let a thing share the name of another."""
        self._name[key] = self._name[other]

    def port(self, wanted: str) -> None:
        """Name a port, which keeps its name; raise UserError where Verilog cannot have it."""
        self.add(wanted, wanted)
        if self._name[wanted] != wanted:
            raise UserError(
                f"module {self.module}: a port cannot be called {wanted!r} in Verilog; use "
                "letters, digits and _, and no keyword"
            )

    def add(self, key: Hashable, wanted: str) -> None:
        """Name a thing as wanted, or as near as is legal and free."""
        like = legal(wanted)
        name, number = like, 1
        while name in self._used or name in KEYWORDS:
            number += 1
            name = f"{like}_{number}"
        self._used.add(name)
        self._name[key] = name
