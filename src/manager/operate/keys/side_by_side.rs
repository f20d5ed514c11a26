//! Work on all processors.

use std::thread;

/// Does the same with each of some, side by side; what comes out is in their order. Nothing is returned for those
/// whose worker is gone.
pub fn side_by_side<T: Sync, R: Send>(some: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = some.len().div_ceil(processors).max(1);
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> = some
            .chunks(share)
            .map(|some| {
                let done = scope.spawn(move || some.iter().map(|one| Some(work(one))).collect::<Vec<_>>());
                (some.len(), done)
            })
            .collect();
        let joined = workers
            .into_iter()
            .map(|(count, worker)| worker.join().unwrap_or_else(|_| (0..count).map(|_| None).collect()));
        joined.flatten().collect()
    })
}
