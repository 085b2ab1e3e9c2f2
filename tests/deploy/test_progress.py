"""What the line says that moves while a command works."""

import pytest

from deploy.local.progress import progress_bar


@pytest.mark.parametrize(("step", "said"), [(4750, False), (5000, True)])
def test_fitting_is_said_when_all_samples_are_drawn(capsys, step, said):
    with progress_bar() as show:
        show("fit", step, 5000, None)
    assert ("fitting the mixture" in capsys.readouterr().out) == said
