"""Names about which no name server says anything."""

from tests.support.everywhere import Everywhere

OPEN = {"allow": ["0.0.0.0/0", "::/0"]}
SILENT = 40
"""Far more than Python and uvloop have threads for lookups."""


def test_names_without_an_answer_keep_no_others_waiting(everywhere: Everywhere) -> None:
    outcomes = everywhere.call(
        "http://first.test/",
        "http://second.test/",
        zone={"first.test": [["93.184.216.34"]], "second.test": [["93.184.216.34"]]},
        silent="silent.test",
        beside=[f"http://x{number}.silent.test/" for number in range(SILENT)],
        **OPEN,
    )
    assert [outcome.status for outcome in outcomes] == [200, 200], outcomes


def test_a_name_without_an_answer_times_out(everywhere: Everywhere) -> None:
    """After the C library's own time, which is 2 s here."""
    outcome = everywhere.one("http://one.silent.test/", silent="silent.test", **OPEN)
    assert outcome.reason == "dns", outcome
    assert outcome.text == "the name one.silent.test cannot be resolved now"
