"""Speed and memory against limits and peers, measured side by side in one run."""
