"""What the tests share beside the processes: clients, sample orders, load, and the comparison of both sides."""
