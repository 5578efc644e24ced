"""A room with an object in it, ray-cast on the device."""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.data.grid import FactorGrid

WALL = 4.0
"""Distance of the walls from the centre of the room."""
EYE_DISTANCE, EYE_HEIGHT, GAZE_HEIGHT = 3.6, 1.7, 0.75
VIEW = 0.75
"""Half of the width of the picture plane at distance 1 from the eye."""
FAR = 1e4
"""Distance assigned to rays that hit nothing."""


class Vector(NamedTuple):
    """Three coordinates, each an array over the pixels or a number. Pixels are the last axis, which is fast in XLA."""

    x: jax.Array
    y: jax.Array
    z: jax.Array

    def dot(self, other: "Vector") -> jax.Array:
        """Computes the scalar product."""
        return self.x * other.x + self.y * other.y + self.z * other.z

    def along(self, distance: jax.Array, direction: "Vector") -> "Vector":
        """Returns this point moved by `distance` in a direction."""
        return Vector(*(place + distance * step for place, step in zip(self, direction, strict=True)))

    def divided(self, length: jax.Array) -> "Vector":
        """Divides this vector by a number."""
        return Vector(self.x / length, self.y / length, self.z / length)

    def unit(self) -> "Vector":
        """Scales this vector to length 1."""
        return self.divided(jnp.sqrt(self.dot(self)))

    def cross(self, other: "Vector") -> "Vector":
        """Computes the vector product."""
        return Vector(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )


class Hit(NamedTuple):
    """Intersections of the rays with a surface."""

    distance: jax.Array
    """Distances [H, W]; `FAR` for rays that miss."""
    normal: Vector
    """Normals of the surface at the intersections."""


@dataclass(frozen=True)
class Rooms(FactorGrid):
    """A coloured object in a coloured room: 480,000 pictures with the factors of Shapes3D.

    The factors are the hues of floor, wall and object (10 values each), the scale of the object (8), its shape (cube,
    cylinder, sphere, capsule) and the viewing direction (15, from -30 to 30 degrees). The factors and their sizes are
    those of Shapes3D (Burgess & Kim, 2018). The pictures are our own, so they can have any resolution and no file is
    needed.
    """

    resolution: int = 64

    name = "rooms"
    factor_names = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    factor_sizes = (10, 10, 10, 8, 4, 15)
    channels = 3

    @partial(jax.jit, static_argnums=0)
    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, int32 [n, 6] -> float32 [n, resolution, resolution, 3] in [0, 1]."""
        return jax.vmap(self._picture)(factors)

    def _picture(self, factors: jax.Array) -> jax.Array:
        floor_hue, wall_hue, object_hue, scale, shape, orientation = factors
        angle = (orientation.astype(jnp.float32) / 14 - 0.5) * (math.pi / 3)
        eye, ray = self._rays(angle)
        floor, wall = _floor(eye, ray), _wall(eye, ray)
        solid = _solid(shape, 0.45 + 0.05 * scale.astype(jnp.float32), eye, ray)
        room = _nearest(floor, wall)
        seen = _nearest(solid, room)
        room_hue = jnp.where(floor.distance < wall.distance, floor_hue, wall_hue)
        hue = jnp.where(solid.distance < room.distance, object_hue, room_hue)
        # The light is behind and above the eye.
        light = Vector(0.5 * eye.x, 2.0 * eye.y, 0.5 * eye.z).unit()
        shade = 0.55 + 0.45 * jnp.clip(seen.normal.dot(light), 0.0, 1.0)
        return jnp.stack([jnp.clip(_rainbow(hue, start) * shade, 0.0, 1.0) for start in (0.0, 4.0, 2.0)], axis=-1)

    def _rays(self, angle: jax.Array) -> tuple[Vector, Vector]:
        """Returns the position of the eye, and the unit direction of each pixel's ray; y points up."""
        place = (jnp.arange(self.resolution, dtype=jnp.float32) + 0.5) / self.resolution * 2 - 1
        zero, one = jnp.float32(0), jnp.float32(1)
        eye = Vector(EYE_DISTANCE * jnp.sin(angle), jnp.float32(EYE_HEIGHT), EYE_DISTANCE * jnp.cos(angle))
        ahead = Vector(-eye.x, GAZE_HEIGHT - eye.y, -eye.z).unit()
        right = ahead.cross(Vector(zero, one, zero)).unit()
        above = right.cross(ahead)
        aside, up = jnp.meshgrid(VIEW * place, -VIEW * place)
        return eye, ahead.along(aside, right).along(up, above).unit()


def _floor(eye: Vector, ray: Vector) -> Hit:
    distance = jnp.where(ray.y < 0, -eye.y / jnp.minimum(ray.y, -1e-6), FAR)
    return Hit(distance, _upwards(distance))


def _wall(eye: Vector, ray: Vector) -> Hit:
    """Intersects rays with the inside of the four walls around the room."""
    to_x = (jnp.sign(ray.x) * WALL - eye.x) / _not_0(ray.x)
    to_z = (jnp.sign(ray.z) * WALL - eye.z) / _not_0(ray.z)
    on_x, none = to_x < to_z, jnp.zeros_like(to_x)
    normal = Vector(jnp.where(on_x, -jnp.sign(ray.x), 0.0), none, jnp.where(on_x, 0.0, -jnp.sign(ray.z)))
    return Hit(jnp.minimum(to_x, to_z), normal)


def _solid(shape: jax.Array, r: jax.Array, eye: Vector, ray: Vector) -> Hit:
    """Intersects rays with a cube, cylinder, sphere or capsule of radius r in the centre of the floor."""
    cylinder = _nearest(_side(0.75 * r, 0.0 * r, 1.7 * r, eye, ray), _lid(0.75 * r, 1.7 * r, eye, ray))
    ends = _nearest(_ball(1.5 * r, 0.6 * r, eye, ray), _ball(0.6 * r, 0.6 * r, eye, ray))
    capsule = _nearest(_side(0.6 * r, 0.6 * r, 1.5 * r, eye, ray), ends)
    solids = (_cube(0.85 * r, eye, ray), cylinder, _ball(r, r, eye, ray), capsule)
    return jax.tree.map(lambda *choices: jnp.stack(choices)[shape], *solids)


def _ball(height: jax.Array, r: jax.Array, eye: Vector, ray: Vector) -> Hit:
    offset = Vector(eye.x, eye.y - height, eye.z)
    half = ray.dot(offset)
    inside = half * half - (offset.dot(offset) - r * r)
    distance = jnp.where((inside > 0) & (half < 0), -half - jnp.sqrt(jnp.maximum(inside, 0.0)), FAR)
    return Hit(distance, offset.along(distance, ray).divided(r))


def _cube(r: jax.Array, eye: Vector, ray: Vector) -> Hit:
    """Intersects rays with a cube of half-width r."""
    offset = Vector(eye.x, eye.y - r, eye.z)
    slow = Vector(*map(_not_0, ray))
    enter, leave = (
        [(side * jnp.sign(step) * r - place) / step for place, step in zip(offset, slow, strict=True)]
        for side in (-1.0, 1.0)
    )
    distance = jnp.maximum(jnp.maximum(enter[0], enter[1]), enter[2])
    hit = (distance < jnp.minimum(jnp.minimum(leave[0], leave[1]), leave[2])) & (distance > 0)
    normal = (jnp.where(at == distance, -jnp.sign(step), 0.0) for at, step in zip(enter, slow, strict=True))
    return Hit(jnp.where(hit, distance, FAR), Vector(*normal))


def _side(r: jax.Array, low: jax.Array, high: jax.Array, eye: Vector, ray: Vector) -> Hit:
    """Intersects rays with the side of an upright cylinder between two heights."""
    a = jnp.maximum(ray.x * ray.x + ray.z * ray.z, 1e-6)
    half = ray.x * eye.x + ray.z * eye.z
    inside = half * half - a * (eye.x * eye.x + eye.z * eye.z - r * r)
    distance = jnp.where(inside > 0, (-half - jnp.sqrt(jnp.maximum(inside, 0.0))) / a, FAR)
    place = eye.along(distance, ray)
    distance = jnp.where((place.y >= low) & (place.y <= high) & (distance > 0), distance, FAR)
    return Hit(distance, Vector(place.x / r, jnp.zeros_like(distance), place.z / r))


def _lid(r: jax.Array, height: jax.Array, eye: Vector, ray: Vector) -> Hit:
    """Intersects rays with a flat disc at a height below the eye."""
    distance = (height - eye.y) / jnp.minimum(ray.y, -1e-6)
    place = eye.along(distance, ray)
    hit = (ray.y < 0) & (distance > 0) & (place.x * place.x + place.z * place.z <= r * r)
    return Hit(jnp.where(hit, distance, FAR), _upwards(distance))


def _nearest(this: Hit, that: Hit) -> Hit:
    nearer = this.distance < that.distance
    return jax.tree.map(lambda a, b: jnp.where(nearer, a, b), this, that)


def _upwards(like: jax.Array) -> Vector:
    return Vector(jnp.zeros_like(like), jnp.ones_like(like), jnp.zeros_like(like))


def _rainbow(hue: jax.Array, start: float) -> jax.Array:
    """Returns one channel of the bright colour with hue 0 to 9. The hue of the channel begins at `start`, 0 to 6."""
    return 0.15 + 0.85 * jnp.clip(jnp.abs((hue.astype(jnp.float32) * 0.6 + start) % 6 - 3) - 1, 0.0, 1.0)


def _not_0(value: jax.Array) -> jax.Array:
    return jnp.where(jnp.abs(value) < 1e-6, 1e-6, value)
