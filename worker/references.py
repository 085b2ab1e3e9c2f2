"""What a request names beside words: pictures, other jobs' outputs, and the history of an exposure key."""

from safetensors.torch import load
from torch import Tensor

from services.diffusion.checkers.safety import SafetyChecker, require_safe
from services.diffusion.density.fit import Report
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.found import Found
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.runtime.checkpoint import described
from services.diffusion.steering.clusters import History, Steering, Weighed, require_fitting, steer
from services.diffusion.steering.spaces import before_the_concept
from services.errors import OtherConceptError, OtherModelError, PictureError, ReferenceGoneError, UnreadableError
from services.jobs.accepted import AcceptedDirection, AcceptedPicture, AcceptedRequest
from services.jobs.leases import Claim, Leases
from services.jobs.record import JobRecord
from services.objects.keys import found_key, state_key, upload_key
from services.objects.storage import Storage
from services.pictures.files import carried
from services.pictures.pixels import read_picture
from services.sampler.requests import history_of
from services.texts.concepts import canonical


class References:
    """Looks up what requests name; ReferenceGoneError when it is no longer there, OtherModelError for an output that
    another model made, UnsafeContentError or UnreadableError for an upload."""

    def __init__(self, model: Kandinsky, safety: SafetyChecker | None, storage: Storage, leases: Leases) -> None:
        self._model, self._safety, self._storage, self._leases = model, safety, storage, leases

    def found(self, request: AcceptedRequest) -> Found | None:
        """What is to be drawn again. OtherConceptError; CheckpointError for a damaged one."""
        if request.found is None:
            return None
        if output := request.found.output:
            what, data = f"the output {output}", self._learnt(output)[0]
        else:
            what = f"the found thing {request.found.kept}"
            data = carried(self._object(found_key(request.found.kept or ""), what)) or b""
        found, own = Found.load(data, f"what {what} learnt"), canonical(request.concept)
        if found.facts.model != self._model.fingerprint:
            raise OtherModelError(what, f"the model {found.facts.model[:12]}", self._model.fingerprint)
        if found.facts.concept != own:
            raise OtherConceptError(what, found.facts.concept, own)
        return found

    def subject(self, request: AcceptedRequest, found: Found | None = None) -> Subject:
        """The concept in its prompt, and the embedding of the picture to start from; PromptError for too many words."""
        start = (self._picture(request.image), request.image.strength) if request.image else ()
        subject = found.subject(request.prompt) if found else Subject(request.concept, request.prompt, *start)
        named = [direction for direction in (*request.avoid, *request.toward) if direction.weight]
        wishes = [direction.text for direction in named if direction.text]
        require_fitting(self._model, subject, wishes + before_the_concept(request.space))
        return subject

    def steering(self, claim: Claim, density: DensityModel, subject: Subject, report: Report) -> Steering:
        """The wishes and the history in the density's terms."""
        request = claim.request
        return steer(
            self._model,
            density,
            subject,
            avoid=[self._wish(direction) for direction in request.avoid],
            toward=[self._wish(direction) for direction in request.toward],
            history=self._history(claim),
            report=report,
        )

    def _history(self, claim: Claim) -> History | None:
        if claim.request.exposure is None:
            return None
        views = self._leases.views(claim.tenant, claim.request.exposure)
        return history_of(views, claim.request.concept, self._model)

    def _picture(self, reference: AcceptedPicture) -> Tensor:
        if reference.output:
            return self._image_embeds(reference.output)
        data = self._object(upload_key(reference.upload or ""), f"the picture {reference.upload}")
        try:
            picture = read_picture(data, "image/png")
        except PictureError as error:
            raise UnreadableError("picture", reference.upload or "") from error
        require_safe(picture, "image", self._safety)
        return self._model.embed_image(picture)

    def _wish(self, direction: AcceptedDirection) -> Weighed:
        counts = direction.text or direction.weight == 0  # what does not count need not be there any more
        named = direction.text or "" if counts else self._image_embeds(direction.output or "")[None]
        return Weighed(named, direction.weight)

    def _image_embeds(self, output: str) -> Tensor:
        """The output's embedding, (dim,); CheckpointError for a damaged one."""
        return self._learnt(output)[1]

    def _learnt(self, output: str) -> tuple[bytes, Tensor]:
        """The file of what the output's trial has learnt, and the embedding in it, which this model knows."""
        job_id, _, index = output.partition("/")
        record: JobRecord | None = self._leases.find(job_id)
        if record is None or int(index) >= len(record.outputs):
            raise ReferenceGoneError(f"the output {output} is erased")
        data = self._object(state_key(job_id, record.attempt, int(index)), f"the output {output}")
        with described(f"what the output {output} learnt"):
            image_embeds = load(data)["image_embeds"]
        model = record.outputs[int(index)].model
        if not self._model.knows(image_embeds, model):
            whose = f"the model {model[:12]}" if model else f"a model of {len(image_embeds)} dimensions"
            raise OtherModelError(f"the output {output}", whose, self._model.fingerprint)
        return data, image_embeds

    def _object(self, key: str, name: str) -> bytes:
        if not self._storage.exists(key):
            raise ReferenceGoneError(f"{name} is erased")
        return self._storage.get(key)
