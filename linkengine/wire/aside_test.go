package wire

import (
	"bytes"
	"reflect"
	"testing"

	"clink/internal/etf"
)

func TestAside(t *testing.T) {
	for _, a := range []*Aside{nil, {Copy: true}, {Trace: []byte("id")}, {Trace: make([]byte, MaxTrace), Deliver: true}, {Copy: true, Trace: []byte{0xff}, Deliver: true}} {
		in := Forward{Topic: "t", Payload: []byte("p"), Aside: a}
		out, err := DecodeForward(in.Append(nil), Limits{})
		if err != nil || !reflect.DeepEqual(out.Aside, a) || out.Topic != "t" {
			t.Errorf("%+v came as %+v, %v", a, out.Aside, err)
		}
	}
}

// What others put into Extra is no aside, whatever it is.
func TestAsideOfOthers(t *testing.T) {
	plain := Forward{Topic: "t"}.Append(nil)
	plain = plain[:len(plain)-len(etf.AppendMap(nil, 0))]
	long := bytes.Repeat([]byte("x"), MaxTrace+1)
	for name, extra := range map[string][]byte{
		"an atom":          etf.AppendInt(etf.AppendAtom(etf.AppendMap(nil, 1), "link_origin"), 1),
		"an unknown key":   etf.AppendInt(etf.AppendInt(etf.AppendMap(nil, 1), 1), 1),
		"another value":    etf.AppendInt(etf.AppendInt(etf.AppendMap(nil, 1), keyCopy), 2),
		"another type":     etf.AppendBinary(etf.AppendInt(etf.AppendMap(nil, 1), keyCopy), "1"),
		"a long id":        etf.AppendBinary(etf.AppendInt(etf.AppendMap(nil, 1), keyTrace), long),
		"an empty id":      etf.AppendBinary(etf.AppendInt(etf.AppendMap(nil, 1), keyTrace), ""),
		"an id of numbers": etf.AppendInt(etf.AppendInt(etf.AppendMap(nil, 1), keyTrace), 7),
		"delivery alone":   etf.AppendInt(etf.AppendInt(etf.AppendMap(nil, 1), keyDeliver), 1),
	} {
		m, err := DecodeForward(append(bytes.Clone(plain), extra...), Limits{})
		if err != nil || m.Aside != nil {
			t.Errorf("%s: %+v, %v", name, m.Aside, err)
		}
	}
}

func TestFeatures(t *testing.T) {
	for _, features := range []int64{0, FeatureClink, FeatureClink | FeatureRetained, 1 << 40} {
		in := ActorInit{Actor: "n", Incarnation: 5, Target: "t", Version: 1, Features: features}
		if out, err := DecodeControl(in.Append(nil), Limits{}); err != nil || out != in {
			t.Errorf("%+v came as %+v, %v", in, out, err)
		}
		for _, refused := range []string{"", "no"} {
			ack := ActorInitAck{Actor: "n", Version: 1, Error: refused, NeedBootstrap: refused == "", Features: features}
			if out, err := DecodeControl(ack.Append(nil), Limits{}); err != nil || out != ack {
				t.Errorf("%+v came as %+v, %v", ack, out, err)
			}
		}
	}
	// Who uses the key for something else has none.
	b := appendActor(nil, 6, "n")
	b = etf.AppendInt(etf.AppendInt(b, keyIncarnation), 5)
	b = etf.AppendBinary(etf.AppendInt(b, keyTarget), "t")
	b = etf.AppendAtom(etf.AppendInt(b, keyFeatures), "true")
	b = appendOp(appendVersion(b, 1), opActorInit)
	if out, err := DecodeControl(b, Limits{}); err != nil || out.(ActorInit).Features != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}
