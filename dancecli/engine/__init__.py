"""How many jobs run where: worker processes, limits, deadlines."""
