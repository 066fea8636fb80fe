"""`shadow`: how live answers compare with those of the composition that shadows them."""

import typer

from api.cli.session import session_of


def shadow(ctx: typer.Context) -> None:
    """Show how the latest live answers compare with their shadows: agreement, cost and time, in pairs.

    `muster.shadow` says which composition shadows, and how many questions.
    """
    from api.cli.shadow_lines import shadow_lines
    from api.views.shadow import shadow_view

    session = session_of(ctx)
    with session.app() as app:
        view = shadow_view(app.shadows.report(), app.settings.muster.shadow)
    session.emit(view.model_dump(mode="json"), *shadow_lines(view))
