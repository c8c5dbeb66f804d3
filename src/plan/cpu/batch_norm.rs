//! A normalisation with what follows it, and the way back.

use super::{Kept, Pass, Way, numbers, sized};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::batch_norm;
use crate::kernels::cpu::batch_norm_gradient::Gradient;
use crate::kernels::cpu::tail::Tail;
use crate::layers::BatchNorm;
use crate::random::Key;

impl<E: Element> Pass<'_, E> {
    pub(super) fn batch_norm(
        &self,
        picture: [usize; 3],
        tail: &Tail,
        x: &[E],
        y: &mut [E],
        training: Option<(&mut Kept<E>, Key)>,
    ) -> Result<()> {
        let layer = self.typed::<BatchNorm<E>>();
        let channels = layer.channels()?;
        let Some((kept, _)) = training else {
            let inverse_deviation = layer.inverse_deviation(&channels.moving_variance);
            channels.with(&channels.moving_mean, &inverse_deviation).forward(picture, x, *tail, y, None);
            return Ok(());
        };
        let [mean, variance, inverse_deviation] = kept.statistics.each_mut().map(|of| sized(of, picture[2]));
        match x.is_empty() {
            true => {
                mean.copy_from_slice(&channels.moving_mean);
                variance.copy_from_slice(&channels.moving_variance);
            }
            false => batch_norm::statistics(x, mean, variance),
        }
        batch_norm::inverse_deviation(variance, layer.epsilon, inverse_deviation);
        let winners = tail.pool.map(|_| sized(&mut kept.winners, y.len()));
        channels.with(mean, inverse_deviation).forward(picture, x, *tail, y, winners);
        Ok(())
    }

    pub(super) fn batch_norm_backward(&self, picture: [usize; 3], tail: &Tail, way: Way<'_, E>) -> Result<()> {
        let layer = self.typed::<BatchNorm<E>>();
        let channels = layer.channels()?;
        if !tail.tells_slope() {
            tail.activation.apply_slope(way.y, way.dy);
        }
        let [mean, variance, inverse_deviation] = &way.kept.statistics;
        let norm = channels.with(mean, inverse_deviation);
        let pool = tail.pool.map(|pool| (pool, &way.kept.winners[..way.dy.len()]));
        let gradient = Gradient { picture, x: way.x, dy: way.dy, pool };
        let [dgamma, dbeta] = way.parameters else { unreachable!("a normalisation has two parameters") };
        let [dgamma, dbeta] = [numbers(dgamma), numbers(dbeta)];
        norm.parameter_gradients(&gradient, dgamma, dbeta);
        if let Some(dx) = way.dx {
            norm.input_gradient(&gradient, [dgamma, dbeta], 0..self.batch, dx);
        }
        let old = [&channels.moving_mean, &channels.moving_variance];
        for ((to, old), new) in way.state.iter_mut().zip(old).zip([mean, variance]) {
            let to = numbers(to);
            to.copy_from_slice(old);
            batch_norm::follow(to, new, layer.momentum);
        }
        Ok(())
    }
}
