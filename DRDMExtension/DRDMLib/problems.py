"""What a user can cure in the scene."""


class InputProblem(ValueError):
    """Something in the scene cannot be used; the message is one sentence for the user."""
