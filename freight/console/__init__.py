"""The shell interface: the commands of `dpa`, progress and summaries."""
