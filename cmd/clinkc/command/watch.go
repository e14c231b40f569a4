package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clink/source"
)

// watch checks the directory, and again after every change in it, until ctx
// ends. A tree that cannot be read for a while is told and waited for; one whose
// evaluation does not end in time ends the watching. What changed since the last verdict is all that is evaluated anew.
//
// The exit code is that of the last verdict, so that it is the same as if vet
// had been run at the end without watching.
func (c Command) watch(ctx context.Context, o *vetOptions, args []string) error {
	name := "."
	if len(args) > 0 {
		name = args[0]
	}
	if err := checkDir(name, c.path(name)); err != nil {
		return err
	}
	dir, err := source.Open(c.path(name), source.Options{})
	if err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	watching := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer stop() // without it nothing would come any more
		watching <- dir.Watch(ctx, func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		})
	}()
	last := c.verdicts(ctx, o, args, wake)
	stop()
	if err := <-watching; err != nil {
		return err
	}
	return last
}

// verdicts gives one for each wake-up after which the source is another one.
func (c Command) verdicts(ctx context.Context, o *vetOptions, args []string, wake <-chan struct{}) error {
	how, revision := o.loading(), ""
	var last error
	for {
		select {
		case <-ctx.Done():
			return last
		case <-wake:
		}
		began := time.Now()
		l, err := c.load(ctx, args, how)
		switch {
		case ctx.Err() != nil:
			return last
		case err != nil:
			if errors.Is(err, context.DeadlineExceeded) {
				// What was given up goes on by itself, and takes ever more memory.
				return fmt.Errorf("%w; an evaluation cannot be stopped, so that watching ends here: mend it and start again", err)
			}
			last, revision = err, ""
			fmt.Fprintf(c.Stderr, "clinkc: %v; waiting for a change\n", err)
			continue
		case l.revision == revision && how.previous != nil && !o.secrets:
			continue // such as a file that was touched
		}
		how.previous, revision = l.Result, l.revision
		last = c.verdict(l, o, args)
		var wrong usageError
		if errors.As(last, &wrong) {
			return last // such as a site that is not there
		}
		fmt.Fprintf(c.Stderr, "-- %s, revision %s, %v; waiting for a change\n", time.Now().Format(time.TimeOnly), l.revision, time.Since(began).Round(time.Millisecond))
	}
}
