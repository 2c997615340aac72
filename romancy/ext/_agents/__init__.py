"""What the adapters of agent frameworks share: the options of steps, their names, and what they are shown with."""
