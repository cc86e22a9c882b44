"""The configurations that are searched: small ones by `make test`, larger ones by `make model`.

Each combines the faults that may meet; all of them at once would be more states than anybody can wait for.
"""

from model.shapes import Left, Setting

SHORT = (
    Setting("nothing goes wrong", Left(), callbacks=2),
    Setting("killed twice", Left(crashes=2)),
    Setting("stopped, and killed", Left(crashes=1, stalls=1)),
    Setting("cut off while it works", Left(stalls=1, disconnects=1)),
    Setting("put back, and killed", Left(crashes=1, copies=1), attempts=1),
    Setting("published twice, replies lost", Left(lost_confirms=1, lost_replies=1)),
    Setting("asked for twice", Left(crashes=1, resubmits=1), attempts=1),
    Setting("all data lost", Left(losses=1)),
    Setting("all data lost, and killed", Left(crashes=1, losses=1), attempts=1, one_result=False),
    Setting("last writes lost", Left(failovers=1), attempts=2),
    Setting("scheduled, cancelled, forgotten", Left(acts=("cancel",), retentions=1), attempts=1, scheduled=True),
    Setting("cancelled, and killed", Left(crashes=1, acts=("cancel",)), attempts=1),
    Setting("cancelled, nobody to tell", Left(crashes=1, acts=("cancel",)), attempts=1, calls_back=False),
    Setting("told to run now", Left(acts=("retry",)), attempts=2),
    Setting("redriven", Left(acts=("redrive-callback", "redrive-execute")), attempts=1),
    Setting("callback redriven, and killed", Left(crashes=1, acts=("redrive-callback",)), attempts=1),
    Setting("out of time", Left(crashes=1), expires=True),
)

LONG = (
    Setting("three kills", Left(crashes=3)),
    Setting("kills and stalls", Left(crashes=2, stalls=1, disconnects=1)),
    Setting("three workers", Left(crashes=1, stalls=1, disconnects=1), workers=3, attempts=1),
    Setting("put back twice, and killed", Left(crashes=1, copies=2)),
    Setting("put back and cut off", Left(stalls=1, disconnects=1, copies=1)),
    Setting("published twice, and killed", Left(crashes=1, lost_confirms=1, lost_replies=1)),
    Setting("all data lost, with copies", Left(crashes=1, copies=1, losses=1), one_result=False),
    Setting("last writes lost, and killed", Left(crashes=1, failovers=1), one_result=False),
    Setting("acts, and all data lost", Left(losses=1, acts=("cancel", "retry")), attempts=1, one_result=False),
    Setting("acts, and last writes lost", Left(failovers=1, acts=("redrive-execute",)), attempts=1, one_result=False),
    Setting("redriven, and killed", Left(crashes=1, acts=("redrive-execute",)), attempts=1),
    Setting("redriven, and stopped", Left(stalls=1, acts=("redrive-callback", "redrive-execute")), attempts=1),
    Setting("cancelled and told to run", Left(crashes=1, acts=("cancel", "retry")), attempts=2),
    Setting("two retries", Left(acts=("retry", "retry")), attempts=2, callbacks=2),
    Setting("out of time, and acts", Left(crashes=1, acts=("retry",)), expires=True),
)
