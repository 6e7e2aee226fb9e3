// Template: lets the conformance suite judge a front-end in Go. Replace `logMel` by your own.
//
//     go build front_end.go
//     whisper-mel judge "cmd:./front_end"
//
// It serves: one line of JSON asks for one call, one line answers
// (docs/writing-a-front-end.md#programs).
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
)

// ---------------------------------------------------------------- replace this function

// logMel returns the features of samples at 16 kHz, band by band: nMels rows of samples / 160 frames.
func logMel(x []float32, nMels int) ([]float32, error) {
	const size, hop, bins = 400, 160, 201
	if len(x) < 201 {
		return nil, errors.New("expected at least 201 samples")
	}
	for _, value := range x {
		if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
			return nil, errors.New("expected finite samples")
		}
	}
	var cosine, sine [size]float64
	for i := range cosine {
		sine[i], cosine[i] = math.Sincos(2 * math.Pi * float64(i) / size)
	}
	step := math.Log(6.4) / 27
	edges := make([]float64, nMels+2) // of Slaney's mel scale, in hertz
	for i := range edges {
		mel := (15 + math.Log(8)/step) * float64(i) / float64(nMels+1)
		edges[i] = 200 * mel / 3
		if mel >= 15 {
			edges[i] = 1000 * math.Exp((mel-15)*step)
		}
	}
	abs := func(i int) int {
		if i < 0 {
			return -i
		}
		return i
	}
	last, frames := len(x)-1, len(x)/hop
	y := make([]float32, nMels*frames)
	var frame [size]float64
	var power [bins]float64
	top := math.Inf(-1)
	for t := 0; t < frames; t++ {
		for i := range frame { // both ends are mirrored; the Hann window is periodic
			at := last - abs(last-abs(t*hop+i-size/2))
			frame[i] = float64(x[at]) * (0.5 - 0.5*cosine[i])
		}
		for k := range power {
			var re, im float64
			for i, value := range frame {
				re += value * cosine[k*i%size]
				im -= value * sine[k*i%size]
			}
			power[k] = re*re + im*im
		}
		for band := 0; band < nMels; band++ {
			low, mid, high := edges[band], edges[band+1], edges[band+2]
			sum := 0.0
			for k, value := range power {
				hertz := float64(k) * 40
				height := math.Min((hertz-low)/(mid-low), (high-hertz)/(high-mid))
				sum += math.Max(height, 0) * 2 / (high - low) * value
			}
			log := math.Log10(math.Max(sum, 1e-10))
			top = math.Max(top, log)
			y[band*frames+t] = float32(log)
		}
	}
	for i, value := range y {
		y[i] = float32((math.Max(float64(value), top-8) + 4) / 4)
	}
	return y, nil
}

// ---------------------------------------------------------------- the rest stays as it is

type request struct {
	In        string  `json:"in"`
	Out       string  `json:"out"`
	NMels     int     `json:"n_mels"`
	PadTo     *int    `json:"pad_to"`
	Smoothing *string `json:"smoothing"`
}

func answer(line []byte) (map[string]any, error) {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	if asked.PadTo != nil || asked.Smoothing != nil {
		return map[string]any{"unsupported": "pad_to and smoothing"}, nil
	}
	data, err := os.ReadFile(asked.In)
	if err != nil {
		return nil, err
	}
	x := make([]float32, len(data)/4)
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, x); err != nil {
		return nil, err
	}
	y, err := logMel(x, asked.NMels)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := binary.Write(&out, binary.LittleEndian, y); err != nil {
		return nil, err
	}
	shape := []int{asked.NMels, len(y) / asked.NMels}
	return map[string]any{"shape": shape}, os.WriteFile(asked.Out, out.Bytes(), 0o600)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		result, err := answer(lines.Bytes())
		if err != nil {
			result = map[string]any{"error": err.Error()}
		}
		text, _ := json.Marshal(result)
		fmt.Println(string(text))
	}
}
