"""Parses one file in a process of its own; started by `freight.readers.isolated`.

Its argument is the reader's temporary folder. The first line of standard input is the task: the parser's function, the
file, the function's other arguments, and what the process may reach. The results go to standard output as frames.
Standard input then stays open as long as the reader lives.
"""

import json
import sys

from freight.parsers.confinement import Reach, confine

WITH_PANDAS = "freight.parsers.reshape.parse"


def main() -> None:
    """Give up all access that the task does not need, then do the task."""
    task = json.loads(sys.stdin.buffer.readline())
    confine(Reach(**task.pop("reach")))  # an older thread would not be confined
    if task["parser"] != WITH_PANDAS:
        sys.modules["numpy"] = None  # type: ignore[assignment]  # pyarrow would load it: half the time of a start
    from freight.parsers.work import work  # late, since libraries start threads

    work(task)


if __name__ == "__main__":
    main()
