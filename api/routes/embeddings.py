"""`POST /v1/embeddings`: texts as the embedder sees them; and `/v1/moderations`, which is not there."""

from fastapi import APIRouter

from api.deps import AppDep
from api.errors import UnsupportedParameterError
from api.middleware.strict_json import StrictRoute
from api.schemas.embeddings import EmbeddingList, EmbeddingRequest, ModerationRequest
from api.views.embeddings import embedding_list

router = APIRouter(route_class=StrictRoute, tags=["embeddings"])


@router.post("/v1/embeddings")
def create_embeddings(body: EmbeddingRequest, app: AppDep) -> EmbeddingList:
    """A vector of unit length for each text, by the embedder that routing reads questions with."""
    vectors = app.embedding.encode(body.model, body.input, dimensions=body.dimensions)
    return embedding_list(vectors, body.input, model=body.model, encoding_format=body.encoding_format)


@router.post("/v1/moderations")
def create_moderation(body: ModerationRequest) -> None:
    """Nothing here judges whether texts are harmful: always refused."""
    del body
    raise UnsupportedParameterError(
        "moderations are not made here.", remedy="Ask a model for it, or a provider that has this endpoint."
    )
