package main

import (
	"context"
	"fmt"

	"clink/bench/loadgen"
)

// A load is one case of the comparison.
type load struct {
	QoS         int  `json:"qos"`
	Size        int  `json:"size"`
	Rate        int  `json:"rate,omitempty"` // messages a second; 0: as many as the window lets through
	Publishers  int  `json:"publishers"`
	Subscribers int  `json:"subscribers"`
	Window      int  `json:"window"`        // of one publisher
	Fan         bool `json:"fan,omitempty"` // one of several, which its name must tell
}

func (l load) String() string {
	text := fmt.Sprintf("QoS %d, %s", l.QoS, bytesText(l.Size))
	if l.Rate > 0 {
		text += fmt.Sprintf(", %s msg/s", grouped(l.Rate))
	}
	if l.Fan {
		text += fmt.Sprintf(", %v", fan{l.Publishers, l.Subscribers})
	}
	return text
}

func bytesText(n int) string {
	if n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d B", n)
}

// grouped writes a number with a comma at the thousands.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// measureLoads measures the pairs in turn, so that what the machine does
// meanwhile meets all of them. Profiles are taken of the pair named clinkd.
func measureLoads(ctx context.Context, c common, r *report, pairs []*pair, loads []load) error {
	for _, l := range loads {
		for round := range c.rounds {
			var results []loadgen.Result
			for _, p := range pairs {
				res, err := p.measure(ctx, c, l, nil)
				if err != nil {
					return err
				}
				r.line(l, round, p.name, res)
				results = append(results, res)
			}
			r.add(l, results)
		}
		for _, p := range pairs {
			if c.profiles == "" || len(p.profile) == 0 {
				continue
			}
			if err := p.takeProfiles(ctx, c, l); err != nil {
				return err
			}
		}
	}
	return nil
}
