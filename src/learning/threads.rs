//! Trainings side by side: numbered pieces of work on a few threads, their results in the order of the numbers.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Why work on threads has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThreadError {
    /// A thread's pool could not be built.
    #[error("training threads could not be started: {0}")]
    Start(String),
    /// A thread died.
    #[error("a training thread died")]
    Died,
}

/// Does the pieces `0..count`, at most `threads` at once, each thread in its own pool of one thread: a network of the
/// size that is trained here gains nothing from more. The results stand in the order of their numbers.
///
/// # Errors
/// The first error of a piece, which ends its thread; [`ThreadError`].
pub fn side_by_side<T: Send, E: From<ThreadError> + Send>(
    count: usize,
    threads: usize,
    piece: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, T)>, E> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = pool.map_err(|error| ThreadError::Start(error.to_string()))?;
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(done);
            }
            done.push((number, pool.install(|| piece(number))?));
        }
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(count).max(1)).map(|_| scope.spawn(work)).collect();
        let died = |_| Err(ThreadError::Died.into());
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect();
        results.into_iter().collect::<Result<Vec<_>, E>>().map(|parts| parts.into_iter().flatten().collect())
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_their_numbers() {
        for threads in [0, 1, 3, 9] {
            let squares = side_by_side(5, threads, |number| Ok::<_, ThreadError>(number * number));
            assert_eq!(squares, Ok(vec![0, 1, 4, 9, 16]));
        }
        assert_eq!(side_by_side(0, 2, |_| Ok::<u8, ThreadError>(1)), Ok(vec![]));
    }

    #[test]
    fn errors_and_deaths_are_told() {
        let refused = side_by_side(4, 2, |number| match number {
            2 => Err(ThreadError::Start("no".to_owned())),
            number => Ok(number),
        });
        assert_eq!(refused, Err(ThreadError::Start("no".to_owned())));
        let died = side_by_side(1, 1, |_| -> Result<(), ThreadError> { panic!("a planted death") });
        assert_eq!(died, Err(ThreadError::Died));
    }
}
