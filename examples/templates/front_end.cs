// Template: lets the conformance suite judge a front-end in C#. Replace `LogMel` by your own.
//
//     mcs front_end.cs && whisper-mel judge "cmd:mono front_end.exe"
//     dotnet new console, this as Program.cs, dotnet build -c Release: the same with .NET
//
// It serves: one line of JSON asks for one call, one line answers
// (docs/writing-a-front-end.md#programs).

using System;
using System.IO;
using System.Linq;

static class FrontEnd
{
    // ------------------------------------------------------------ replace this function

    /// Features of samples at 16 kHz, band by band: nMels rows of samples / 160 frames.
    static float[] LogMel(float[] x, int nMels)
    {
        const int size = 400, hop = 160, bins = size / 2 + 1;
        if (x.Length < 201) throw new ArgumentException("expected at least 201 samples");
        if (x.Any(value => float.IsNaN(value) || float.IsInfinity(value)))
            throw new ArgumentException("expected finite samples");
        double[] cosine = new double[size], sine = new double[size], edges = new double[nMels + 2];
        for (int i = 0; i < size; i++)
        {
            cosine[i] = Math.Cos(2 * Math.PI * i / size);
            sine[i] = Math.Sin(2 * Math.PI * i / size);
        }
        double step = Math.Log(6.4) / 27;
        for (int i = 0; i < nMels + 2; i++) // of Slaney's mel scale, in hertz
        {
            double mel = (15 + Math.Log(8) / step) * i / (nMels + 1);
            edges[i] = mel < 15 ? 200 * mel / 3 : 1000 * Math.Exp((mel - 15) * step);
        }
        int last = x.Length - 1, frames = x.Length / hop;
        double top = double.NegativeInfinity;
        double[] frame = new double[size], power = new double[bins], logs = new double[nMels * frames];
        for (int t = 0; t < frames; t++)
        {
            for (int i = 0; i < size; i++) // both ends are mirrored; the Hann window is periodic
            {
                int at = last - Math.Abs(last - Math.Abs(t * hop + i - size / 2));
                frame[i] = x[at] * (0.5 - 0.5 * cosine[i]);
            }
            for (int k = 0; k < bins; k++)
            {
                double real = 0, imaginary = 0;
                for (int i = 0; i < size; i++)
                {
                    real += frame[i] * cosine[k * i % size];
                    imaginary -= frame[i] * sine[k * i % size];
                }
                power[k] = real * real + imaginary * imaginary;
            }
            for (int band = 0; band < nMels; band++)
            {
                double low = edges[band], mid = edges[band + 1], high = edges[band + 2], sum = 0;
                for (int k = 0; k < bins; k++)
                {
                    double hertz = k * 40.0;
                    double height = Math.Min((hertz - low) / (mid - low), (high - hertz) / (high - mid));
                    sum += Math.Max(height, 0) * 2 / (high - low) * power[k];
                }
                double log = Math.Log10(Math.Max(sum, 1e-10));
                top = Math.Max(top, log);
                logs[band * frames + t] = log;
            }
        }
        return logs.Select(log => (float)((Math.Max(log, top - 8) + 4) / 4)).ToArray();
    }

    // ------------------------------------------------------------ the rest stays as it is

    /// The value of a field of a request: a text without its quotes, a number, or null.
    static string Field(string line, string name)
    {
        string key = "\"" + name + "\": ";
        int start = line.IndexOf(key, StringComparison.Ordinal);
        if (start < 0) throw new FormatException("no " + name + " in the request");
        start += key.Length;
        bool isText = line[start] == '"';
        start += isText ? 1 : 0;
        int end = line.IndexOfAny(isText ? new[] { '"' } : new[] { ',', '}' }, start);
        return line.Substring(start, end - start);
    }

    static string Answer(string line)
    {
        foreach (string name in new[] { "smoothing", "pad_to" })
            if (Field(line, name) != "null") return "{\"unsupported\": \"" + name + "\"}";
        byte[] data = File.ReadAllBytes(Field(line, "in"));
        float[] x = new float[data.Length / 4];
        Buffer.BlockCopy(data, 0, x, 0, x.Length * 4);
        int nMels = int.Parse(Field(line, "n_mels"));
        float[] y = LogMel(x, nMels);
        byte[] features = new byte[y.Length * 4];
        Buffer.BlockCopy(y, 0, features, 0, features.Length);
        File.WriteAllBytes(Field(line, "out"), features);
        return "{\"shape\": [" + nMels + ", " + y.Length / nMels + "]}";
    }

    static void Main()
    {
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            string text;
            try { text = Answer(line); }
            catch (Exception error) { text = "{\"error\": \"" + error.Message.Replace('"', '\'') + "\"}"; }
            Console.WriteLine(text);
            Console.Out.Flush();
        }
    }
}
