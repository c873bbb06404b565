"""The questions that 07_ablation asks, and the settings of each."""

from handlib import course_faults, pieces
from handlib.notebooks import RunError

QUESTIONS = {"faults": course_faults, "pieces": pieces}


def chosen_settings(question, only=""):
    """The settings of a question that are named, see ``pieces.chosen_settings``.

    Raises:
        RunError: a name of none of them; where it is one of another question's, that is said.
    """
    settings = {each: module.settings() for each, module in QUESTIONS.items()}
    for name in pieces.named(only):
        having = [each for each, known in settings.items() if name in known]
        if having and question not in having:
            raise RunError(
                f"question {question!r} has no setting {name}, but {having[0]!r} has: give "
                f"-p question {having[0]}"
            )
    return pieces.chosen_settings(settings[question], only)
