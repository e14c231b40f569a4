package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"clink/diagnostic"
)

// A problem is an answer that refuses a request.
type problem struct {
	status  int
	code    string
	message string
	wait    time.Duration // to tell as Retry-After
	sites   []string
}

func (p *problem) Error() string { return p.message }

func bad(message string) error {
	return &problem{status: http.StatusBadRequest, code: "BAD_REQUEST", message: message}
}

func notFound() error { return &Refusal{Kind: NotFound} }

func tooMany(wait time.Duration, message string) error {
	return &problem{status: http.StatusTooManyRequests, code: "TOO_MANY_REQUESTS", wait: wait,
		message: message + "; try again in " + seconds(wait) + " s"}
}

func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// A refusalForm is how one kind of refusal is answered.
type refusalForm struct {
	status        int
	code, message string
}

// refusals are never written to. The texts of the first two are EMQX's.
var refusals = map[string]refusalForm{
	NotFound:    {http.StatusNotFound, "NOT_FOUND", "Cluster link not found"},
	Exists:      {http.StatusBadRequest, "ALREADY_EXISTS", "Cluster link already exists"},
	Stale:       {http.StatusPreconditionFailed, "PRECONDITION_FAILED", "The source has changed since; look at the current value, and write again with its ETag"},
	Conflict:    {http.StatusConflict, "CONFLICT", "The source holds something here that cannot be changed from outside; edit it there"},
	WouldPrune:  {http.StatusConflict, "WOULD_PRUNE", "The list lacks links that there are; say prune=true to remove them"},
	ReadOnly:    {http.StatusConflict, "READ_ONLY", "The source is read only for this process; edit it where it comes from"},
	Invalid:     {http.StatusBadRequest, "BAD_REQUEST", "The topology would not be valid; see the findings"},
	NoSpace:     {http.StatusInsufficientStorage, "INSUFFICIENT_STORAGE", "The disk is full; nothing was changed"},
	Unavailable: {http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "This cannot be done now; try again"},
}

// An errorAnswer is EMQX's form of an error, with what clink adds.
type errorAnswer struct {
	Code     string               `json:"code"`
	Message  string               `json:"message"`
	Findings diagnostic.List      `json:"findings,omitempty"`
	Pos      *diagnostic.Pos      `json:"pos,omitempty"`
	Related  []diagnostic.Related `json:"related,omitempty"`
	Sites    []string             `json:"sites,omitempty"`
	Current  json.RawMessage      `json:"current,omitempty"` // of a write that came too late; null: there is no such link
}

// handler is a handler that may refuse its request.
type handler func(w http.ResponseWriter, r *http.Request) error

// answered answers what h refuses.
func (a *api) answered(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.refuse(w, r, err)
		}
	}
}

func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	var ref *Refusal
	switch {
	case errors.As(err, &p):
		if p.wait > 0 {
			w.Header().Set("Retry-After", seconds(p.wait))
		}
		reply(w, p.status, errorAnswer{Code: p.code, Message: p.message, Sites: p.sites})
	case errors.As(err, &ref) && refusals[ref.Kind].status != 0:
		reply(w, refusals[ref.Kind].status, ref.answer())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		fail(w, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "This took too long or was broken off; look before you try again")
	default:
		// The text may hold what only the log's readers should see.
		id := callOf(r).id
		a.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "request", id, "err", err)
		fail(w, http.StatusInternalServerError, "INTERNAL_ERROR", "This failed here, not at your end; the log says why, under request "+id)
	}
}

func (r *Refusal) answer() errorAnswer {
	a := errorAnswer{Code: refusals[r.Kind].code, Message: r.Error(), Findings: r.Findings, Related: r.Related}
	if !r.Pos.IsZero() {
		a.Pos = &r.Pos
	}
	return a
}
