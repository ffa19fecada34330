//! A mutex whose owner inherits the priority of those who wait.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;

/// `PTHREAD_PRIO_INHERIT`, which makes the kernel boost the owner. It checks who unlocks, and lives as
/// long as the process: a pthread mutex must not move, nor be freed while anyone may hold it.
pub struct PiMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: all that is done with the value is done by the functions of pthread, which are made to be
// called from any thread.
#[allow(unsafe_code, reason = "a pthread mutex is for several threads")]
unsafe impl Sync for PiMutex {}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

impl std::fmt::Debug for PiMutex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PiMutex")
    }
}

impl PiMutex {
    /// A mutex for the rest of the process's life.
    ///
    /// # Errors
    /// What `pthread_mutex_init` says, such as `ENOTSUP`.
    #[allow(unsafe_code, reason = "pthread has no safe wrapper with priority inheritance")]
    pub fn leaked() -> io::Result<&'static Self> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let mutex = Box::leak(Box::new(Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))));
        // SAFETY: the attributes are initialised by the first call, before the others read them; the
        // mutex is at its last place, nobody else knows it yet.
        unsafe {
            checked(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let attributes = attributes.as_mut_ptr();
            checked(libc::pthread_mutexattr_setprotocol(attributes, libc::PTHREAD_PRIO_INHERIT))?;
            let checking = libc::PTHREAD_MUTEX_ERRORCHECK;
            checked(libc::pthread_mutexattr_settype(attributes, checking))?;
            checked(libc::pthread_mutex_init(mutex.0.get(), attributes))?;
            checked(libc::pthread_mutexattr_destroy(attributes))?;
        }
        Ok(mutex)
    }

    /// Takes it, waiting if need be.
    ///
    /// # Errors
    /// `EDEADLK` if this thread has it already.
    #[allow(unsafe_code, reason = "see leaked")]
    pub fn lock(&'static self) -> io::Result<()> {
        // SAFETY: initialised, at one place, and never freed.
        checked(unsafe { libc::pthread_mutex_lock(self.0.get()) })
    }

    /// Gives it back.
    ///
    /// # Errors
    /// `EPERM` if this thread does not have it.
    #[allow(unsafe_code, reason = "see leaked")]
    pub fn unlock(&'static self) -> io::Result<()> {
        // SAFETY: initialised, at one place, and never freed; the mutex checks whose it is.
        checked(unsafe { libc::pthread_mutex_unlock(self.0.get()) })
    }
}

#[cfg(test)]
mod tests {
    use super::PiMutex;

    #[test]
    fn who_does_not_have_it_cannot_give_it_back() {
        let mutex = PiMutex::leaked().unwrap();
        mutex.lock().unwrap();
        assert_eq!(mutex.lock().unwrap_err().raw_os_error(), Some(libc::EDEADLK));
        let other =
            std::thread::spawn(move || mutex.unlock().map_err(|error| error.raw_os_error()));
        assert_eq!(other.join().unwrap(), Err(Some(libc::EPERM)));
        mutex.unlock().unwrap();
    }
}
