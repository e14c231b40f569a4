package linkengine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"clink/linkengine/forwarder"
	"clink/linkengine/spool"
	"clink/topology"
)

const (
	diskBytes = 1 << 30        // of a queue on disk that names no bound
	diskAge   = 24 * time.Hour // of its messages, if it names none
	laneBytes = 16 << 20       // of them in memory, a connection
)

// A disk is a link's queue on disk, and what the link's configuration says of
// it. It outlives forwarders, and stays open until the engine is closed: what
// is published while a process stops is kept as well.
type disk struct {
	*link
	spool  *spool.Spool
	dir    string
	accept atomic.Bool            // false: the link wants none any more, this one only empties
	full   atomic.Pointer[string] // what to do when there is no room
	stop   func() error

	// Order keeps a message from being taken while older ones are on their way
	// from the disk to the lanes.
	order sync.RWMutex
}

// durable reports whether cfg asks for a queue on disk.
func durable(cfg topology.Link) bool { return cfg.Queue.Sync != "" }

func (l *link) diskDir() string {
	return filepath.Join(l.opts.DataDir, "spool", "to-"+url.PathEscape(l.peer))
}

// openDisk opens the link's queue on disk if it wants one, or there is one with
// messages in it. A link whose queue cannot be opened works without.
func (l *link) openDisk(cfg topology.Link) {
	if l.opts.DataDir == "" || l.disk.Load() != nil {
		l.adjustDisk(cfg)
		return
	}
	dir := l.diskDir()
	if _, err := os.Stat(dir); !durable(cfg) && errors.Is(err, fs.ErrNotExist) {
		return
	}
	l.left = 0
	maxBytes, always := diskLimit(cfg)
	s, report, err := spool.Open(spool.Options{Dir: dir, MaxBytes: maxBytes, Always: always})
	if err != nil {
		l.counters.Note(forwarder.NotStored)
		l.fault(l.peer, "the queue on disk cannot be opened: messages wait in memory alone", "err", err.Error())
		return
	}
	if report.Torn > 0 || len(report.Damaged) > 0 {
		l.counters.Note("spool-damaged")
		l.log.Warn("the queue on disk was damaged: what was whole is kept", "peer", l.peer, "torn_tails", report.Torn, "kept_aside", report.Damaged)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	d := &disk{link: l, spool: s, dir: dir, stop: func() error {
		cancel()
		return <-ended
	}}
	l.disk.Store(d)
	l.adjustDisk(cfg)
	if report.Messages > 0 {
		l.log.Info("messages of an earlier run are to be sent", "peer", l.peer, "messages", report.Messages)
		l.gate.lose(time.Now())
	}
}

func diskLimit(cfg topology.Link) (maxBytes int64, always bool) {
	if maxBytes = cfg.Queue.MaxBytes.Bytes; maxBytes == 0 {
		maxBytes = diskBytes
	}
	return maxBytes, cfg.Queue.Sync == "always"
}

// adjustDisk makes an open queue what cfg says.
func (l *link) adjustDisk(cfg topology.Link) {
	d := l.disk.Load()
	if d == nil {
		return
	}
	d.full.Store(&cfg.Queue.WhenFull)
	d.spool.Limit(diskLimit(cfg))
	d.accept.Store(durable(cfg))
	d.spool.Rush(false)
}

// release lets those go on that wait for room, and has nobody wait again.
func (d *disk) release() {
	d.spool.Rush(true)
}

// close closes the queue, which keeps what is in it.
func (d *disk) close() error {
	d.release()
	d.disk.CompareAndSwap(d, nil)
	return d.stop()
}

// clearDisk ends the queue on disk, and removes it with all that is in it.
func (l *link) clearDisk() {
	var closed error
	if d := l.disk.Load(); d != nil {
		l.left = d.spool.Len()
		closed = d.close()
	}
	l.counters.DropMany(forwarder.Stopped, l.left)
	l.left = 0
	if l.opts.DataDir == "" {
		return
	}
	if err := errors.Join(closed, os.RemoveAll(l.diskDir())); err != nil {
		l.fault(l.peer, "the queue on disk is not removed", "err", err.Error())
	}
}

// putAside closes the queue on disk until the link starts again, or goes.
func (l *link) putAside() error {
	d := l.disk.Load()
	if d == nil {
		return nil
	}
	l.left = d.spool.Len()
	return d.close()
}

// Put, Next, Done and Waiting implement [forwarder.Store].
func (d *disk) Put(data []byte, at time.Time, keep bool) (seq uint64, taken bool, err error) {
	if !d.accept.Load() {
		return 0, true, nil
	}
	for {
		d.order.RLock()
		seq, taken, err := d.spool.Append(data, at, keep)
		d.order.RUnlock()
		switch {
		case err == nil:
			if err := d.spool.Wait(seq); err != nil {
				d.counters.Note(forwarder.NotStored)
				d.unwell(err)
			}
			return seq, taken, nil
		case !errors.Is(err, spool.ErrFull):
			d.unwell(err)
			return 0, false, err
		case !d.room(len(data)):
			return 0, false, forwarder.ErrFull
		}
	}
}

// room makes room or waits for it, or reports that there is none.
func (d *disk) room(size int) bool {
	if !d.spool.Fits(size) {
		return false
	}
	switch *d.full.Load() {
	case forwarder.Block:
		return d.spool.AwaitRoom(size)
	case forwarder.DropNew:
		return false
	}
	lost, ok := d.spool.DropOldest()
	d.counters.DropMany(forwarder.QueueFull, lost)
	return ok
}

func (d *disk) Next(limit int, out func(seq uint64, at time.Time, data []byte)) error {
	d.order.Lock()
	defer d.order.Unlock()
	entries, err := d.spool.Next(limit)
	for _, e := range entries {
		out(e.Seq, e.Time, e.Data)
	}
	if err != nil {
		d.unwell(err)
	}
	return err
}

func (d *disk) Done(seq uint64) { d.spool.Done(seq) }

func (d *disk) Waiting() bool { return d.spool.Waiting() > 0 }

func (d *disk) unwell(err error) {
	d.fault(d.peer, "the queue on disk is in trouble: messages may be lost if this process dies", "err", err.Error())
}

// check tells of trouble, and ends a queue that is not wanted any more and has
// become empty; what was set aside as damaged stays.
func (d *disk) check() {
	if err := d.spool.Err(); err != nil {
		d.unwell(err)
	}
	if d.accept.Load() || d.spool.Len() > 0 || !d.changing.TryLock() {
		return
	}
	defer d.changing.Unlock()
	if d.accept.Load() { // it is wanted again
		return
	}
	if err := errors.Join(d.close(), d.removeEmpty()); err != nil {
		d.unwell(err)
	}
}

// removeEmpty removes the segments, and the directory if nothing else is in it.
func (d *disk) removeEmpty() error {
	files, err := os.ReadDir(d.dir)
	for _, file := range files {
		if filepath.Ext(file.Name()) == ".spool" {
			err = errors.Join(err, os.Remove(filepath.Join(d.dir, file.Name())))
		}
	}
	os.Remove(d.dir)
	return err
}

// store is what a new forwarder is given.
func (l *link) store() forwarder.Store {
	if d := l.disk.Load(); d != nil {
		return d
	}
	return nil
}

// leaveBehind keeps a message for which no forwarder is left.
func (l *link) leaveBehind(i *forwarder.Item) {
	if d := l.disk.Load(); d != nil && !i.Store(d, false, &l.counters) || i.Stored() {
		return
	}
	l.counters.Drop(forwarder.Stopped)
}

// Close closes the queues on disk, writes down the peers' routes, and keeps the
// ids of the QoS 2 messages that came last if the node keeps what waits for its
// clients. It is to be called when neither the engine nor its node run any more.
func (e *Engine) Close() error {
	e.changing.Lock()
	defer e.changing.Unlock()
	var errs []error
	for _, l := range *e.links.Load() {
		if err := l.keepRecent(); err != nil {
			errs = append(errs, fmt.Errorf("link to %s: %w", l.peer, err))
		}
		if d := l.disk.Load(); d != nil {
			if err := d.close(); err != nil {
				errs = append(errs, fmt.Errorf("link to %s: %w", l.peer, err))
			}
		}
	}
	e.writeRoutes()
	return errors.Join(errs...)
}
