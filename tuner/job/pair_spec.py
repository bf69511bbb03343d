"""Pairs of a job file: a content image, its style images and the reference stylization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from nst_core.errors import InputError


class Section(BaseModel):
    """Base of all parts of a job file: unknown keys are errors, and values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StyleImage(Section):
    """One of several style images of a pair."""

    image: Annotated[str, Field(min_length=1, description="image file")]
    weight: Annotated[float, Field(gt=0, le=1e6, description="share in the blend")] = 1.0
    region: Annotated[
        str | None,
        Field(
            description="mask file: white where this style applies in the content; default: where"
            " no other mask applies"
        ),
    ] = None
    style_region: Annotated[
        str | None,
        Field(description="mask file: white where the style image is used; default: everywhere"),
    ] = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the image file and the mask files."""
        return tuple(name for name in (self.image, self.region, self.style_region) if name)


class ReferenceSpec(Section):
    """A reference that is made when the run starts."""

    model_config = ConfigDict(populate_by_name=True)

    source: Annotated[
        Literal["feed-forward", "adain", "long-run"],
        Field(alias="from", description="feed-forward, adain or long-run"),
    ]
    encoder: Annotated[str | None, Field(description="adain: file of the encoder's weights")] = None
    decoder: Annotated[str | None, Field(description="adain: file of the decoder's weights")] = None

    @model_validator(mode="after")
    def _needs_weights_only_for_adain(self) -> ReferenceSpec:
        expected = self.source == "adain"
        if bool(self.encoder) != expected or bool(self.decoder) != expected:
            raise ValueError("expected encoder and decoder with from: adain, and only there")
        return self


def _kind_of_reference(value: Any) -> str | None:
    if isinstance(value, str):
        return "file"
    return "made" if isinstance(value, (dict, ReferenceSpec)) else None


class PairSpec(Section):
    """A content image, its style images and the stylization that results are compared with."""

    content: Annotated[str, Field(min_length=1, description="image file to stylize")]
    style: Annotated[
        list[StyleImage],
        Field(
            min_length=1,
            max_length=16,
            description="style image file, or a list of {image, weight}",
        ),
    ]
    reference: Annotated[
        Annotated[str, Field(min_length=1), Tag("file")] | Annotated[ReferenceSpec, Tag("made")],
        Discriminator(
            _kind_of_reference,
            custom_error_type="reference",
            custom_error_message="expected an image file, or {from: …} to make one",
        ),
        Field(description="image file that shows the goal, or {from: …} to make one"),
    ]
    start: Annotated[
        str | None, Field(description="image file to start from, for `init: image`")
    ] = None

    @field_validator(
        "style", mode="before", json_schema_input_type=str | StyleImage | list[StyleImage]
    )
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        value = {"image": value} if isinstance(value, str) else value
        return [value] if isinstance(value, dict) else value

    @property
    def reference_file(self) -> str:
        """File name of the reference; every reference is a file once the run has started.

        Raises:
            InputError: the reference has not been made yet.
        """
        if not isinstance(self.reference, str):
            raise InputError(
                f"reference: {{from: {self.reference.source}}} of {self.content} has not been made;"
                " expected an image file; start the run first, or name a file"
            )
        return self.reference

    def placed(self, place: Callable[[str, str], str]) -> PairSpec:
        """Return the pair with every file name replaced by ``place(name, role)``."""
        reference: str | ReferenceSpec
        if isinstance(self.reference, str):
            reference = place(self.reference, "reference")
        else:
            files = {"encoder": self.reference.encoder, "decoder": self.reference.decoder}
            reference = self.reference.model_copy(
                update={role: place(name, role) for role, name in files.items() if name}
            )
        styles = [
            style.model_copy(
                update={
                    role: place(
                        name, f"style{index}" if role == "image" else f"style{index}-{role}"
                    )
                    for role in ("image", "region", "style_region")
                    if (name := getattr(style, role))
                }
            )
            for index, style in enumerate(self.style)
        ]
        return PairSpec(
            content=place(self.content, "content"),
            style=styles,
            reference=reference,
            start=place(self.start, "start") if self.start else None,
        )
