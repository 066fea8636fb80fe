"""Judgements as they are shown."""

from api.schemas.feedback import FeedbackView
from api.views.experts import tally_views
from orchestrator.domain.feedback import Feedback


def feedback_view(feedback: Feedback) -> FeedbackView:
    """A judgement, and what it says of each expert, in shares of one observation."""
    return FeedbackView(
        job=feedback.job_id,
        query=feedback.query_id,
        score=feedback.score,
        experts=tally_views(feedback.experts),
    )
