"""The command `crawl`, and `python -m crawler`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line.

    Until a command is at work, Ctrl-C ends the process as it ends one that isn't Python's. Raised
    within an import, a KeyboardInterrupt shows where that was, is dropped where nobody can catch
    it, or leaves a lock that another thread's import then waits for without end.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from crawler.process import collect_no_garbage_yet

    collect_no_garbage_yet()
    from crawler.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
