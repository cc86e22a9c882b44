"""The dashboards in charts/carom/dashboards, written from here: `python -m dashboards`, which `make docs` does.

One module a dashboard, over `board`, which makes panels look alike.
"""
