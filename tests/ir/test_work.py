"""Work adds up width by width."""

from cosim.ir.work import Work, pair

ONE = Work(macs={(8, 4): 10}, adds={16: 3}, lookups={20: 2}, const_bits=5, state_read_bits=7)
TWO = Work(macs={(8, 4): 1, (8, 8): 2}, muls={(16, 8): 4}, adds={8: 1}, shifts={8: 6}, in_bits=9)


def test_works_add_width_by_width():
    total = ONE + TWO
    assert total == Work(
        macs={(8, 4): 11, (8, 8): 2},
        muls={(16, 8): 4},
        adds={16: 3, 8: 1},
        shifts={8: 6},
        lookups={20: 2},
        const_bits=5,
        in_bits=9,
        state_read_bits=7,
    )
    assert ONE + Work() == ONE


def test_a_mac_is_two_operations():
    assert (ONE.mac_count, ONE.operations) == (10, 2 * 10 + 3 + 2)
    assert TWO.operations == 2 * 3 + 4 + 1 + 6


def test_operand_widths_come_larger_first():
    assert pair(4, 8) == pair(8, 4) == (8, 4)
