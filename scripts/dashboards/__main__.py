"""Writes charts/carom/dashboards/*.json; a test fails while they are stale."""

from dashboards.pages import FOLDER, PAGES, text


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(text(page()))
        print(f"wrote charts/carom/dashboards/{name}")


main()
