"""Any `Method` as a pair of pure functions, `init` and `update`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxvae.method import Batch, Context, Hyperparameters, Method, Nets, Objective, Optimizer, Params, Terms


class TrainState(NamedTuple):
    """Everything that training changes or depends on, as one pytree, which can be vmapped, sharded and saved."""

    params: dict[str, Params]
    """Parameters by network name."""
    opt_state: tuple[dict[str, Any], ...]
    """Optimizer states by optimizer, in the order of the objectives, and by network."""
    hyperparameters: Hyperparameters
    """Hyperparameters as float32 scalars."""
    key: jax.Array
    """Random key of the run, which never changes: random numbers depend on (key, step)."""
    step: jax.Array
    """Number of steps completed, int32."""


Active: TypeAlias = tuple[bool, ...] | None
"""Whether each objective is active; None if this is determined from the state's step, inside the program."""
Init: TypeAlias = Callable[..., TrainState]
Update: TypeAlias = Callable[..., tuple[TrainState, Terms]]


def step_key(state: TrainState, stream: int) -> jax.Array:
    """Returns the key of one random stream of the coming step: `Stream.BATCH` draws its batch, and objective i uses i +
    1.
    """
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), stream)


def make_train_step(method: Method, *, dataset_size: int) -> tuple[Init, Update]:
    """Turns a method into pure functions, to be jitted, vmapped over states, or sharded over the batch.

    Args:
      method: Method to train, with its networks and objectives.
      dataset_size: Number of examples in the data set that the batches come from.

    Returns:
      init(key, hyperparameters=method.hyperparameters) -> TrainState
      update(state, batch, axis_name=None, active=None) -> (TrainState, terms): takes one gradient step for every active
      objective. Gradients are computed at the incoming parameters unless the method is `sequential`. `terms` holds
      "loss" (the loss of the first objective; that of a further objective is "<networks>_loss") and the terms that the
      losses report, as float32 scalars. With `axis_name`, `batch` is this device's shard and the state is replicated;
      state and terms are then the same as for the whole batch on one device.

    Raises:
      ValueError: An objective trains a network that the method does not have, or names a learning rate that does not
        exist; an optimizer is not a function of the learning rate and ascends, as `optax.scale_by_adam()` does; or, at
        trace time, the batch lacks a key that the method needs.
    """
    for objective in method.objectives:
        unknown = set(objective.trains) - set(method.networks)
        if unknown:
            raise ValueError(
                f"{method.name}: an objective trains {sorted(unknown)}, not among {sorted(method.networks)}"
            )
        for what, given in (("learning rate", objective.learning_rate), ("optimizer", objective.optimizer)):
            left = set(objective.trains) - {*given} if isinstance(given, Mapping) else set()
            if left:
                raise ValueError(f"{method.name}: an objective trains {sorted(left)} but gives them no {what}")
        for rate in map(objective.rate_of, objective.trains):
            if not hasattr(method.hyperparameters, rate):
                raise ValueError(f"{method.name}: no hyperparameter {rate!r} for a learning rate")

    used = {
        (objective.optimizer_of(network), network): objective.rate_of(network)
        for objective in reversed(method.objectives)
        for network in objective.trains
    }
    optimizers = list(dict.fromkeys(o.optimizer_of(network) for o in method.objectives for network in o.trains))
    for optimizer in optimizers:
        if isinstance(optimizer, optax.GradientTransformation):
            _refuse_to_climb(method, optimizer)

    def init(key: jax.Array, hyperparameters: Hyperparameters | None = None) -> TrainState:
        init_key, train_key = jax.random.split(key)
        keys = jax.random.split(init_key, len(method.networks))
        params = {
            name: network.init(k) for (name, network), k in zip(sorted(method.networks.items()), keys, strict=True)
        }
        if hyperparameters is None:
            hyperparameters = method.hyperparameters
        hyperparameters = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), hyperparameters)
        return TrainState(
            params=params,
            opt_state=tuple(
                {
                    network: built(optimizer, getattr(hyperparameters, rate)).init(params[network])
                    for (one, network), rate in used.items()
                    if one == optimizer
                }
                for optimizer in optimizers
            ),
            hyperparameters=hyperparameters,
            key=train_key,
            step=jnp.int32(0),
        )

    def update(
        state: TrainState, batch: Batch, axis_name: str | None = None, active: Active = None
    ) -> tuple[TrainState, Terms]:
        missing = set(method.needs) - set(batch)
        if missing:
            raise ValueError(f"{method.name} needs {sorted(missing)} in its batches; this data gives {sorted(batch)}")
        params, memory = dict(state.params), [dict(memories) for memories in state.opt_state]
        terms: Terms = {}
        for index, objective in enumerate(method.objectives):
            ctx = Context(step_key(state, index + 1), state.hyperparameters, state.step, dataset_size, axis_name)
            seen = dict(params) if method.sequential else state.params
            places = {network: optimizers.index(objective.optimizer_of(network)) for network in objective.trains}
            before = _trained(objective, params), {network: memory[i][network] for network, i in places.items()}

            take = partial(_moved, objective, method, seen, before, batch, ctx)
            leave = partial(_kept, objective, method, seen, before, batch, ctx)
            if active is not None or objective.active is None:
                after, values = take() if active is None or active[index] else leave()
            else:
                after, values = jax.lax.cond(objective.active(state.step), take, leave)
            params |= after[0]
            for network, i in places.items():
                memory[i][network] = after[1][network]
            loss_name = "loss" if index == 0 else "_".join((*objective.trains, "loss"))
            values = {loss_name: values.pop("loss"), **values}
            if clash := set(values) & set(terms):
                raise ValueError(f"{method.name}: two objectives report {sorted(clash)}")
            terms |= values
        return state._replace(params=params, opt_state=tuple(memory), step=state.step + 1), terms

    return init, update


def active_at(method: Method, step: int) -> Active:
    """Returns which objectives of the method are active at a step (0-based)."""
    return tuple(o.active is None or bool(o.active(jnp.int32(step))) for o in method.objectives)


_Trained: TypeAlias = tuple[dict[str, Params], dict[str, optax.OptState]]
"""Parameters and optimizer states, by network."""


def _trained(objective: Objective, tree: dict[str, Any]) -> dict[str, Any]:
    return {name: tree[name] for name in objective.trains}


def _moved(
    objective: Objective, method: Method, seen: dict[str, Params], before: _Trained, batch: Batch, ctx: Context
) -> tuple[_Trained, Terms]:
    """Returns the trained networks after one step from `before` with the gradient at `seen`, and the objective's
    terms.
    """
    loss = _loss(objective, method, batch, ctx)
    gradient, terms = _gradient(loss, objective, seen, ctx)
    params, memory = before
    stepped, remembered = {}, {}
    for name in objective.trains:
        rate = getattr(ctx.hyperparameters, objective.rate_of(name))
        if objective.schedule is not None:
            rate = rate * objective.schedule(ctx.step)
        optimizer = optax.with_extra_args_support(built(objective.optimizer_of(name), rate))
        # Line searches and Polyak steps read these; all others ignore them.
        more = {
            "value": terms["loss"],
            "grad": gradient[name],
            "value_fn": lambda one, name=name: loss({**_trained(objective, seen), name: one}, seen)[0],
        }
        updates, remembered[name] = optimizer.update(gradient[name], memory[name], seen[name], **more)
        stepped[name] = optax.apply_updates(params[name], updates)
    projected = objective.project(stepped, ctx.hyperparameters)
    if projected.keys() != stepped.keys():
        raise ValueError(f"{method.name}: project must give {sorted(stepped)}, it gave {sorted(projected)}")
    return (projected, remembered), terms


def _kept(
    objective: Objective, method: Method, seen: dict[str, Params], before: _Trained, batch: Batch, ctx: Context
) -> tuple[_Trained, Terms]:
    """Returns the unchanged parameters and the objective's terms."""
    _, terms = _loss(objective, method, batch, ctx)(_trained(objective, seen), seen)
    return before, terms


def _loss(objective: Objective, method: Method, batch: Batch, ctx: Context) -> Callable[..., tuple[jax.Array, Terms]]:
    """Returns a function (trained params, all params) -> loss over the global batch, and the terms including the
    loss.
    """

    def loss_of(trained: dict[str, Params], params: dict[str, Params]) -> tuple[jax.Array, Terms]:
        returned = objective.loss(Nets(method.networks, params | trained), batch, ctx)
        loss, terms = _global_mean(_loss_and_terms(method.name, returned), ctx.axis_name)
        return loss, {"loss": loss, **terms}

    return loss_of


def _loss_and_terms(name: str, returned: Any) -> tuple[jax.Array, Terms]:
    """Returns what a loss gave, which may be a user's own.

    Raises:
      TypeError: It is not a pair of a loss and a dict of terms.
      ValueError: The loss or a term is not a scalar.
    """
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)):
        single = "a single array" if hasattr(returned, "shape") else f"a {type(returned).__name__}"
        given = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else single
        raise TypeError(
            f"{name}: a loss must return two things, the loss and a dict of further terms (`return loss, {{}}`), "
            f"and it returned {given}"
        )
    loss, terms = returned
    for what, value in {"the loss": loss, **{f"the term {term!r}": value for term, value in terms.items()}}.items():
        if jnp.shape(value) != ():
            raise ValueError(
                f"{name}: {what} must be one number, the mean over the batch, and has shape {jnp.shape(value)}: "
                "return its .mean()"
            )
    return loss, dict(terms)


def _gradient(
    loss: Callable[..., tuple[jax.Array, Terms]], objective: Objective, params: dict[str, Params], ctx: Context
) -> tuple[dict[str, Params], Terms]:
    """Computes the gradient of the objective over the global batch for the networks that it trains, and its terms."""
    # The mean is taken inside the gradient, and again over it: right under vmap, pmap and unchecked shard_map.
    # Checked shard_map has already summed over the devices, and a second mean would only repeat the communication.
    gradient, terms = jax.grad(loss, has_aux=True)(_trained(objective, params), params)
    return gradient if _is_checked(ctx.axis_name) else _global_mean(gradient, ctx.axis_name), terms


def built(optimizer: Optimizer, rate: Any) -> optax.GradientTransformation:
    """Returns the gradient transformation of an optimizer at a learning rate."""
    return optimizer if isinstance(optimizer, optax.GradientTransformation) else optimizer(rate)


def _refuse_to_climb(method: Method, optimizer: optax.GradientTransformation) -> None:
    """Raises ValueError for a transformation whose first step ascends, as far as this can be tested on a scalar."""
    with jax.ensure_compile_time_eval():
        params, gradient = {"w": jnp.zeros(())}, {"w": jnp.ones(())}
        try:
            updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        except Exception:  # it needs the networks' own parameters, as a mask does, and can't be tested on a scalar
            return
        climbs = bool(updates["w"] > 0)
    if climbs:
        raise ValueError(
            f"{method.name}: an objective's optimizer climbs its loss. Give a function of the learning rate, such as "
            "optax.adam (without parentheses), or a transformation that ends with optax.scale(-rate)"
        )


def _global_mean(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def _is_checked(axis_name: str | None) -> bool:
    """Whether this is traced in a shard_map that tracks what varies over the axis; False if JAX does not report it."""
    if axis_name is None:
        return False
    tracked = getattr(jax.typeof(jax.lax.axis_index(axis_name)), "manual_axis_type", None)
    return tracked is not None and axis_name in tracked.varying
