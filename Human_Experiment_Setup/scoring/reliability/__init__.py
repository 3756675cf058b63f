"""How reliable scored answers are: agreement, noise ceiling, recognition with intervals; and how many answers a study needs."""
