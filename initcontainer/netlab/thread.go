package netlab

import (
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Owner is whom the kernel takes a socket to belong to.
type Owner struct{ UID, GID int }

// take makes the calling thread an owner, in the kernel's eyes, of the sockets it makes.
func (o Owner) take() error {
	if err := unix.Setfsgid(o.GID); err != nil {
		return err
	}
	return unix.Setfsuid(o.UID)
}

// seat is where a thread of a lab sits: the owner of a socket and its namespace are those
// of the thread which makes it.
type seat struct {
	at    netns.NsHandle
	owner Owner
}

// enter moves the calling thread, which must be locked and must end with its goroutine.
func (s seat) enter() error {
	if err := netns.Set(s.at); err != nil {
		return err
	}
	return s.owner.take()
}

// thread does one piece of work after another at its seat. Making a thread for each
// connection would take longer than the connection.
type thread struct {
	work chan func()
	err  error // why it could not sit down; then it does nothing but return
}

// threadAt returns the lab's thread at a seat, a new one the first time.
func (l *Lab) threadAt(s seat) *thread {
	l.mu.Lock()
	defer l.mu.Unlock()
	if th, ok := l.threads[s]; ok {
		return th
	}
	th := &thread{work: make(chan func())}
	l.threads[s] = th
	ready := make(chan struct{})
	l.group.Go(func() error {
		runtime.LockOSThread() // never undone: the thread ends with the goroutine
		th.err = s.enter()
		close(ready)
		for do := range th.work {
			do()
		}
		return nil
	})
	<-ready
	return th
}

// do runs fn on the thread and waits for it, unless the thread has an error.
func (th *thread) do(fn func()) error {
	if th.err != nil {
		return th.err
	}
	done := make(chan struct{})
	th.work <- func() { fn(); close(done) }
	<-done
	return nil
}

// stop ends the lab's threads.
func (l *Lab) stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, th := range l.threads {
		close(th.work)
	}
	return l.group.Wait()
}

// Try makes all the calls and reports who answered each, in the same order. Calls from one
// namespace and of one owner are made one after the other, others at the same time.
func (l *Lab) Try(calls ...Call) []Reached {
	out := make([]Reached, len(calls))
	seats := map[seat][]int{}
	for i, c := range calls {
		s := seat{c.At, c.Owner}
		seats[s] = append(seats[s], i)
	}
	var g errgroup.Group
	for s, list := range seats {
		g.Go(func() error {
			err := l.threadAt(s).do(func() {
				for _, i := range list {
					out[i] = calls[i].make()
				}
			})
			if err != nil {
				for _, i := range list {
					out[i] = Reached{Listener: err.Error()}
				}
			}
			return nil
		})
	}
	_ = g.Wait() // errors are in out
	return out
}
