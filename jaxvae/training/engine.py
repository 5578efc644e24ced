"""Any `Method` as a pure pair of functions, `init` and `update`."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxvae.method import Batch, Context, Hyperparameters, Method, Nets, Objective, Params, Terms


class TrainState(NamedTuple):
    """All that training changes or depends on, as one pytree: vmap it, shard it, save it."""

    params: dict[str, Params]
    """By network name."""
    opt_state: tuple[optax.OptState, ...]
    """By objective."""
    hyperparameters: Hyperparameters
    """float32 scalars."""
    key: jax.Array
    """Never changes: randomness is keyed by (key, step)."""
    step: jax.Array
    """int32, updates done."""


Init: TypeAlias = Callable[..., TrainState]
Update: TypeAlias = Callable[..., tuple[TrainState, Terms]]


def step_key(state: TrainState, stream: int) -> jax.Array:
    """The key of one random stream of the coming step: `BATCH_STREAM` draws its batch, objective i uses i + 1."""
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), stream)


def compile_method(method: Method, *, dataset_size: int) -> tuple[Init, Update]:
    """A method as pure functions, to be jitted, vmapped over states, or sharded over the batch.

    Args:
      method: the table of networks and objectives.
      dataset_size: number of examples in the set the batches come from.

    Returns:
      init(key, hyperparameters=method.hyperparameters) -> TrainState
      update(state, batch, axis_name=None) -> (TrainState, terms): one gradient update of every objective, all of them
        computed at the incoming parameters. `terms` holds "loss" (that of the first objective; of a further one:
        "<networks>_loss") and what the losses report, as float32 scalars. With `axis_name`, `batch` is this device's
        share, the state is replicated, and state and terms come out as for the whole batch on one device.

    Raises:
      ValueError: an objective trains a network that the method does not have, or names no such learning rate; at trace
        time, a batch without a key that the method needs.
    """
    for objective in method.objectives:
        unknown = set(objective.trains) - set(method.networks)
        if unknown:
            raise ValueError(
                f"{method.name}: an objective trains {sorted(unknown)}, not among {sorted(method.networks)}"
            )
        left = set() if isinstance(objective.learning_rate, str) else set(objective.trains) - {*objective.learning_rate}
        if left:
            raise ValueError(f"{method.name}: an objective trains {sorted(left)} but gives them no learning rate")
        for rate in map(objective.rate_of, objective.trains):
            if not hasattr(method.hyperparameters, rate):
                raise ValueError(f"{method.name}: no hyperparameter {rate!r} for a learning rate")

    def init(key: jax.Array, hyperparameters: Hyperparameters | None = None) -> TrainState:
        init_key, train_key = jax.random.split(key)
        keys = jax.random.split(init_key, len(method.networks))
        params = {
            name: network.init(k) for (name, network), k in zip(sorted(method.networks.items()), keys, strict=True)
        }
        if hyperparameters is None:
            hyperparameters = method.hyperparameters
        return TrainState(
            params=params,
            opt_state=tuple(o.optimizer.init(_trained(o, params)) for o in method.objectives),
            hyperparameters=jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), hyperparameters),
            key=train_key,
            step=jnp.int32(0),
        )

    def update(state: TrainState, batch: Batch, axis_name: str | None = None) -> tuple[TrainState, Terms]:
        missing = set(method.needs) - set(batch)
        if missing:
            raise ValueError(f"{method.name} needs {sorted(missing)} in its batches; this data gives {sorted(batch)}")
        params, opt_states = dict(state.params), []
        terms: Terms = {}
        for index, objective in enumerate(method.objectives):
            ctx = Context(step_key(state, index + 1), state.hyperparameters, state.step, dataset_size, axis_name)
            gradient, values = _gradient(objective, method, state.params, batch, ctx)
            direction, opt_state = objective.optimizer.update(
                gradient, state.opt_state[index], _trained(objective, state.params)
            )
            updates = {}
            for network in objective.trains:
                rate = getattr(state.hyperparameters, objective.rate_of(network))
                updates[network] = jax.tree.map(lambda d, rate=rate: -rate * d, direction[network])
            stepped = optax.apply_updates(_trained(objective, params), updates)
            projected = objective.project(stepped, state.hyperparameters)
            if projected.keys() != stepped.keys():
                raise ValueError(f"{method.name}: project must give {sorted(stepped)}, it gave {sorted(projected)}")
            params |= projected
            opt_states.append(opt_state)
            loss_name = "loss" if index == 0 else "_".join((*objective.trains, "loss"))
            values = {loss_name: values.pop("loss"), **values}
            if clash := set(values) & set(terms):
                raise ValueError(f"{method.name}: two objectives report {sorted(clash)}")
            terms |= values
        return state._replace(params=params, opt_state=tuple(opt_states), step=state.step + 1), terms

    return init, update


def _trained(objective: Objective, params: dict[str, Params]) -> dict[str, Params]:
    return {name: params[name] for name in objective.trains}


def _gradient(
    objective: Objective, method: Method, params: dict[str, Params], batch: Batch, ctx: Context
) -> tuple[dict[str, Params], Terms]:
    """Gradient of the objective over the global batch for what it trains, and its terms."""

    def global_mean(tree: Any) -> Any:
        return tree if ctx.axis_name is None else jax.lax.pmean(tree, ctx.axis_name)

    def loss_of(trained: dict[str, Params]) -> tuple[jax.Array, Terms]:
        loss, terms = objective.loss(Nets(method.networks, params | trained), batch, ctx)
        loss, terms = global_mean((loss, terms))
        return loss, {"loss": loss, **terms}

    # The mean goes inside the gradient, and once more on it: right under vmap, pmap and unchecked shard_map. Checked,
    # shard_map has added the devices' shares up already, and a second mean would only send everything again.
    gradient, terms = jax.grad(loss_of, has_aux=True)(_trained(objective, params))
    return gradient if _is_checked(ctx.axis_name) else global_mean(gradient), terms


def _is_checked(axis_name: str | None) -> bool:
    """Whether this is traced in a shard_map that tracks what varies over the axis; False where JAX does not tell."""
    if axis_name is None:
        return False
    tracked = getattr(jax.typeof(jax.lax.axis_index(axis_name)), "manual_axis_type", None)
    return tracked is not None and axis_name in tracked.varying
