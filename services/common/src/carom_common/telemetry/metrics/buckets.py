"""Bounds of histograms, in seconds unless said otherwise.

Each step is a factor of 2 to 2.5 where a share of a second matters (an estimated quantile is then wrong by less than
half), and coarser in the tails, where it only matters whether it was minutes or hours. Thresholds of alerts and
objectives (0.25, 1, 5 s) are bounds themselves, so their shares are exact. Native histograms would need no bounds, but
prometheus-client cannot write them.
"""

ROUND_TRIP = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Broker and store in the same cluster: a millisecond when all is well; after 5 s they count as away."""
CALL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Calls to strangers: from a neighbour's 5 ms to the longest timeout."""
WAIT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43_200, 172_800)
"""Queues and whole jobs: a hundredth of a second when idle, days where retries are many."""
LATENESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 5, 30, 300)
"""Delay buckets are met within 0.1 s (docs/adr/0002); fine about that."""
LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""Turns of an event loop: under 5 ms when well, from 0.1 s on everybody waits for everybody."""
BATCH = (1, 2, 4, 8, 16, 32, 64, 128)
"""Commands in a round trip; 64 is the limit, and what belongs together goes over it."""
ATTEMPTS = (1, 2, 3, 5, 8, 13, 21, 50)
"""Attempts of a job."""
