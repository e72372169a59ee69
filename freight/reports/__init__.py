"""Output for people: the Excel report and the exports."""
