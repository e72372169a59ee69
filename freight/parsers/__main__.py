"""Parses one file in a process of its own; started by `freight.readers.isolated`.

Its argument is the reader's temporary folder, the first line of standard input the task: the parser's function, the
file, what the function wants to know, and what it can reach. What it finds goes to standard output as frames. Standard
input then stays open as long as the reader lives.
"""

import json
import sys

from freight.parsers.confinement import Reach, confine


def main() -> None:
    """Give up what the task does not need, then do it."""
    task = json.loads(sys.stdin.buffer.readline())
    confine(Reach(**task.pop("reach")))  # a thread that there was before would not be confined
    from freight.parsers.work import work  # late, since libraries start threads

    work(task)


if __name__ == "__main__":
    main()
