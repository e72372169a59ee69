"""What people see and type in a shell: the commands of `dpa`, progress and summaries."""
