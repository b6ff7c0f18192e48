package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests start servers: this test program then is the program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// TestMeasure takes all figures, few of each, with real servers.
func TestMeasure(t *testing.T) {
	p := plan{rounds: 1, reviews: 20, crowd: 100 * time.Millisecond, open: 200 * time.Millisecond, rates: []int{100}}
	var out, log bytes.Buffer
	if err := p.measure(t.Context(), &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{
		"Machine: ", "| 5 kB, sluice | 20 | ", "| 1 MB, classic | 10 | ", "| 40 kB, floor | 10 | ",
		"### 8 clients at once", "| 100/s, sluice | 20 | ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestReviewsHaveTheirSize(t *testing.T) {
	reviews, err := reviewsOf()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"5 kB": 4_700, "40 kB": 40_000, "64 kB": 64_000, "1 MB": 1_000_000}
	if len(reviews) != len(want) {
		t.Fatalf("%d reviews; want %d", len(reviews), len(want))
	}
	for _, r := range reviews {
		if n := len(r.body); n < want[r.name]*95/100 || n > want[r.name]*105/100 {
			t.Errorf("review of %s has %d bytes", r.name, n)
		}
	}
}

// TestCheck: an answer that does not inject is noticed.
func TestCheck(t *testing.T) {
	r := review{"5 kB", usual, 1}
	tests := []struct {
		name, answer string
		peer         peer
		ok           bool
	}{
		{"no JSON", `{`, sluice, false},
		{"refused", `{"response":{"uid":"u","allowed":false}}`, bare, false},
		{"allowed", `{"response":{"uid":"u","allowed":true}}`, bare, true},
		{"not patched", `{"response":{"uid":"u","allowed":true}}`, sluice, false},
		{"no proxy", `{"response":{"uid":"u","allowed":true,"patch":"W10="}}`, sluice, false},
	}
	for _, tt := range tests {
		if err := check(tt.peer, r, []byte(tt.answer)); (err == nil) != tt.ok {
			t.Errorf("%s: %v; want no error: %v", tt.name, err, tt.ok)
		}
	}
}

// TestPeersRefuseNonsense: what is no review is no answer.
func TestPeersRefuseNonsense(t *testing.T) {
	for _, p := range []peer{classic, bare} {
		h, err := p.handler(nil)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/inject", strings.NewReader("{}")))
		if w.Code != 400 {
			t.Errorf("%s answers %d to no review", p, w.Code)
		}
	}
	if _, err := peer("other").handler(nil); err == nil {
		t.Error("an unknown server has a handler")
	}
}

func TestConverse(t *testing.T) {
	var out bytes.Buffer
	n := 0
	read := func() (usage, error) {
		n++
		return usage{Allocs: uint64(n), CPU: time.Second}, nil
	}
	if err := converse(duplex{strings.NewReader("\n\n"), &out}, hello{[]byte("roots")}, read); err != nil {
		t.Fatal(err)
	}
	var first hello
	var one, two usage
	d := json.NewDecoder(&out)
	for _, v := range []any{&first, &one, &two} {
		if err := d.Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	if string(first.Roots) != "roots" || two.since(one) != (usage{Allocs: 1}) {
		t.Errorf("%v, %v, %v", first, one, two)
	}
	if err := d.Decode(&one); err != io.EOF {
		t.Errorf("more was written: %v", err)
	}
}

func TestReadUsage(t *testing.T) {
	u, err := readUsage()
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU <= 0 || u.Allocs == 0 || u.Bytes < u.Allocs || u.RSS < 1<<20 || u.PeakRSS < u.RSS {
		t.Errorf("usage = %+v", u)
	}
}

// TestRatedRow: latency runs from when a review was due.
func TestRatedRow(t *testing.T) {
	at := time.Unix(0, 0)
	all := []arrival{{due: at, sent: at.Add(30 * time.Millisecond), answered: at.Add(31 * time.Millisecond)}}
	got := strings.Join(ratedRow("x", all, usage{CPU: 2 * time.Millisecond, PeakRSS: 1 << 20}), " ")
	if want := "x 1 31.000 31.000 31.000 1.000 1.000 1.000 1.0"; got != want {
		t.Errorf("row = %s; want %s", got, want)
	}
}
