package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"clink/topology"
)

const (
	heartbeat    = 15 * time.Second
	writeTime    = 10 * time.Second // a reader that takes nothing for so long is dropped
	streamLife   = time.Hour        // then the client comes again, and proves itself again
	maxStreams   = 100
	reconnectsIn = 2 * time.Second // what clients are told
)

// events streams what happens, as server-sent events.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	if a.Observer == nil {
		return errNotBuilt
	}
	after, err := lastEvent(r)
	if err != nil {
		return err
	}
	every, err := rateInterval(r)
	if err != nil {
		return err
	}
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		return &problem{status: http.StatusServiceUnavailable, code: "TOO_MANY_STREAMS", wait: heartbeat,
			message: "Too many streams of events are open; close one, or try again"}
	}
	past, next, stop := a.Observer.Events(after)
	defer stop()
	s := &stream{w, http.NewResponseController(w)}
	s.begin(r)
	if r.Method == http.MethodHead {
		return nil
	}
	figures, leave := a.feeds.join(every)
	defer leave()
	a.follow(r, s, past, next, figures)
	s.extend() // for the end of the answer
	return nil
}

// lastEvent returns the event after which to begin, 0 for the first one kept.
func lastEvent(r *http.Request) (uint64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, bad("Last-Event-ID must be the id of an event, a number")
	}
	return n, nil
}

// follow sends events until somebody has enough. Errors are not told: there
// is nobody left to tell.
func (a *api) follow(r *http.Request, s *stream, past []topology.Event, next <-chan topology.Event, figures <-chan []byte) {
	for _, e := range past {
		if s.event(e) != nil {
			return
		}
	}
	beat, end := time.NewTicker(heartbeat), time.NewTimer(streamLife)
	defer beat.Stop()
	defer end.Stop()
	for {
		var err error
		select {
		case <-a.Done:
			return
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-beat.C:
			err = s.send(": still here\n\n")
		case e, ok := <-next:
			if !ok {
				return
			}
			err = s.event(e)
		case text := <-figures:
			err = s.write(text)
		}
		if err != nil {
			return
		}
	}
}

// A stream is an answer that goes on.
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (s *stream) begin(r *http.Request) {
	// The server's time limit for reading a request would end the stream.
	s.c.SetReadDeadline(time.Time{})
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close") // its time limits are not those of other answers
	}
	s.w.WriteHeader(http.StatusOK)
	s.send(fmt.Sprintf("retry: %d\n\n", reconnectsIn.Milliseconds()))
}

func (s *stream) event(e topology.Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	kind := strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, e.Type)
	return s.send(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, kind, b))
}

func (s *stream) send(text string) error { return s.write([]byte(text)) }

func (s *stream) write(text []byte) error {
	if err := s.extend(); err != nil {
		return err
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.c.Flush()
}

// extend gives the next write its time.
func (s *stream) extend() error { return s.c.SetWriteDeadline(time.Now().Add(writeTime)) }
