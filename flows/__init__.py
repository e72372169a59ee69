"""What runs: one module for each business process; a flow only sequences tasks."""
