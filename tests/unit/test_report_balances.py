"""Balances in the report of costs (SIM-15)."""

import pytest

from modemctl.model import Bay
from modemctl.policy.papers import Lang
from tests.support.approved import amend_cards
from tests.support.balances import note_balance
from tests.unit.test_report_making import ICCIDS, ask, bench, fetched, fill, rows_of
from tests.unit.test_self_tests import absent_bay

__all__ = ["bench"]  # the fixture


@pytest.mark.parametrize(
    ("lang", "heading", "not_asked", "not_read", "left", "word"),
    [
        (Lang.ZH, "余额", "未查询", "未读到", "-3.20", ", 已用尽"),
        (Lang.EN, "Balance", "not asked", "not read", "9.99", ", low"),
        (Lang.EN, "Balance", "not asked", "not read", "99", ""),
    ],
)
async def test_the_report_of_costs_tells_what_is_left_and_who_is_not_asked(
    bench, tmp_path, lang, heading, not_asked, not_read, left, word
):
    await fill(bench)

    def tell(tx):
        amend_cards(tx, ICCIDS[:2], carrier="CMCC")
        note_balance(tx, ICCIDS[0], Bay("bay-01"), "50")
        note_balance(tx, ICCIDS[0], Bay("bay-01"), left)

    await absent_bay(bench.store)
    await bench.store.write(tell)
    async with bench.client(await bench.token_of("auditor")) as client:
        month = bench.clock.now().strftime("%Y-%m")
        made = await ask(client, "costs", subject=month, format="xlsx", lang=lang.value)
        rows = rows_of(await fetched(client, made, tmp_path))
    day = bench.clock.now().date().isoformat()
    by_card = {row[1]: row[-1] for row in rows if row[1] in ICCIDS}
    assert by_card[ICCIDS[0]] == f"{left} CNY ({day}{word})"
    assert by_card[ICCIDS[1]] == not_read
    assert by_card[ICCIDS[2]] == not_asked
    assert sum(heading in row for row in rows) == 1
